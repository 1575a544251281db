import numpy as np
import pytest

from keras_distill import data
from keras_distill._internal import InputError


def test_digits():
    splits = data.load("digits")
    assert splits.sizes == {"train": 1167, "validation": 130, "test": 500}
    assert (splits.input_shape, splits.num_classes, splits.name) == ((8, 8, 1), 10, "digits")
    x, y = splits.train.element_spec
    assert (x.dtype.name, y.dtype.name) == ("uint8", "int64")
    values = np.stack([x for x, _ in splits.train.as_numpy_iterator()])
    assert values.min() == 0 and values.max() == 16
    # 1,797 digits hold 174 to 183 of each class.
    assert set(np.bincount(data.labels_of(splits.test))) <= {48, 49, 50, 51}


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    splits, bundle = data.load("digits"), load_digits()
    original = {(x.tobytes(), y) for x, y in zip(bundle.images, bundle.target, strict=True)}
    parts = (splits.train, splits.validation, splits.test)
    ours = {(x[..., 0].astype(float).tobytes(), y) for p in parts for x, y in p.as_numpy_iterator()}
    assert ours == original


def test_few_labels_of_digits():
    few = data.keep_labels(data.load("digits").train, 100)
    assert np.bincount(data.labels_of(few) + 1).tolist() == [1067] + [10] * 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"spec": "nosuch"}, "digits, mnist1d, tfds:NAME, idx:DIR, npz:FILE, images:DIR, py:"),
        ({"spec": "nosuch:thing?a=1"}, "no source 'nosuch'"),
        ({"spec": ""}, "be a spec"),
        ({"spec": None}, "be a spec"),
        ({"spec": "digits:8"}, "nothing after"),
        ({"spec": "digits?size=8"}, "known options"),
        ({"spec": "digits", "validation": 0}, "`validation` must be > 0"),
        ({"spec": "digits", "validation": 0.6}, "<= 0.5"),
        ({"spec": "digits", "validation": "much"}, "`validation`"),
        ({"spec": "digits", "seed": -1}, "`seed`"),
        ({"spec": "digits", "seed": 2**32}, "`seed`"),
        ({"spec": "idx:"}, "idx:DIR"),
        ({"spec": "images:"}, "images:DIR"),
        ({"spec": "npz:"}, "npz:FILE"),
        ({"spec": "py:"}, "py:package.module:function"),
    ],
)
def test_bad_arguments(arguments, says):
    with pytest.raises(InputError) as caught:
        data.load(**arguments)
    assert says in str(caught.value) and "\n" not in str(caught.value)
