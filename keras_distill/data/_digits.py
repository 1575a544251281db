"""`digits`: 1,797 real handwritten digits, part of scikit-learn; no download."""

from typing import Any

import numpy as np

from keras_distill.data._splits import TEST_SEED, Source, Splits, from_arrays
from keras_distill.data._stratified import stratified

TEST_COUNT = 500


def load(source: Source) -> Splits:
    """Loads gray images of 8 x 8 pixels in 10 classes, uint8 `(8, 8, 1)` with values 0..16.

    The test split is 500 images, stratified and always the same. The validation split is held out
    of the other 1,297 images. By default it has 130, which leaves 1,167 for training.

    Source: the test part of E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits
    (1998), UCI Machine Learning Repository, doi:10.24432/C50P49, as in
    `sklearn.datasets.load_digits`.

    Raises:
        InputError: If the spec has an argument or an option.
    """
    from sklearn.datasets import load_digits

    source.spec.refuse_argument()
    source.spec.read()
    bundle: Any = load_digits()
    x = bundle.images[..., np.newaxis].astype(np.uint8)
    y = bundle.target.astype(np.int64)
    test = stratified(y, TEST_COUNT, TEST_SEED)
    return from_arrays(
        {
            "train": (np.delete(x, test, axis=0), np.delete(y, test)),
            "test": (x[test], y[test]),
        },
        source,
        name="digits",
        notes=(f"test: {TEST_COUNT} of {len(y)} images, stratified, always the same",),
    )
