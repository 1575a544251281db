"""`mnist1d`: generated signals of 40 samples in 10 classes, and additional unlabeled signals.

MNIST-1D is a benchmark on which the accuracies of small and large models differ widely (Greydanus,
Kobak 2024, Scaling down deep learning with MNIST-1D, ICML, arXiv:2011.14439). It needs the extra
mnist1d.
"""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_distill._internal import _spec, bad, check_count, require_extra
from keras_distill._internal._checks import MAX_SEED
from keras_distill._internal._types import Array, Dataset
from keras_distill.data._labels import UNLABELED
from keras_distill.data._splits import Source, Splits, from_arrays

# The seed and the size of the published data set; 80 % of it is train.
PUBLISHED_SEED = 42
PUBLISHED_SIZE = 5000
# Unlabeled examples are generated in pieces of this size, each from its own seed.
_PIECE = 1000


def load(source: Source) -> Splits:
    """Generates the published data set: 4,000 training and 1,000 test signals, float32 `(40,)`.

    Options: `examples=N` generates N signals instead of 5,000, 80 % of them for training (N >= 50,
    rounded down to a multiple of 10). `unlabeled=N` generates N additional unlabeled training
    signals, none of them in the published set, and a tenth as many for validation and for test.

    Raises:
        InputError: If the spec has an argument, an option is unknown or out of range, or both
            options are given.
        MissingExtraError: If the package mnist1d is not installed.
    """
    source.spec.refuse_argument()
    options = source.spec.read(
        examples=_spec.count(at_least=50), unlabeled=_spec.count(at_least=10)
    )
    if "unlabeled" in options:
        if "examples" in options:
            raise bad("data", "have one of the options examples and unlabeled", source.text)
        return _further(options["unlabeled"], source)
    made = _make(options.get("examples", PUBLISHED_SIZE), PUBLISHED_SEED, train_split=0.8)
    return from_arrays(
        {"train": (made["x"], made["y"]), "test": (made["x_test"], made["y_test"])},
        source,
        name="mnist1d",
    )


def _further(count: int, source: Source) -> Splits:
    """Returns splits of unlabeled examples, `count` of them for training."""
    tenth = count // 10
    x = _signals(count + 2 * tenth, 0)
    parts = {"train": x[:count], "validation": x[count:-tenth], "test": x[-tenth:]}
    return from_arrays({k: (v, None) for k, v in parts.items()}, source, name="mnist1d-unlabeled")


def unlabeled(count: int, *, seed: int = 0) -> Dataset:
    """Generates additional unlabeled examples.

    Each thousand is scaled to mean 0 and standard deviation 1, like the published set.

    Args:
        count: The number of examples.
        seed: Seed of the generator. With the same seed, a smaller data set is the beginning of a
            larger one.

    Returns:
        An unbatched data set of `(x, y)`, x float32 `(40,)`, y int64 -1 ("unlabeled").

    Raises:
        InputError: If an argument is out of range.
        MissingExtraError: If the package mnist1d is not installed.

    Example:
        >>> more = unlabeled(20, seed=1)
        >>> int(more.cardinality()), more.element_spec[0].shape.as_list()
        (20, [40])
    """
    check_count("count", count)
    check_count("seed", seed, at_least=0, at_most=MAX_SEED)
    x = _signals(count, seed)
    return tf.data.Dataset.from_tensor_slices((x, np.full(count, UNLABELED, np.int64)))


def _signals(count: int, seed: int) -> Array:
    pieces = [
        _make(_PIECE, _piece_seed(seed, piece), train_split=1.0)["x"]
        for piece in range(-(-count // _PIECE))
    ]
    return np.concatenate(pieces)[:count].astype(np.float32)


def _piece_seed(seed: int, piece: int) -> int:
    return int(np.random.SeedSequence((seed, piece)).generate_state(1)[0])


def _make(examples: int, seed: int, *, train_split: float) -> dict[str, Array]:
    package = require_extra("mnist1d.data", "mnist1d")
    settings = package.get_dataset_args()
    settings.num_samples, settings.seed, settings.train_split = examples, seed, train_split
    with _random_state_kept():
        return package.make_dataset(settings)


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    """Restores the state of the global random generators, because the package seeds them."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
