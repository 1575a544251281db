import collections

import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._array_likes import as_arrays, is_array_like, to_array

VALUES = np.arange(6, dtype="float32").reshape(3, 2)


class OnlyArray:
    """As pandas and JAX: `__array__` alone."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


class OnlyDLPack:
    """As an array library without NumPy's protocol."""

    def __dlpack__(self, **options):
        return VALUES.__dlpack__(**options)

    def __dlpack_device__(self):
        return VALUES.__dlpack_device__()


class OfAGraph(OnlyArray):
    """As a torch tensor that requires a gradient, or is on a GPU."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.\nUse detach().")


@pytest.mark.parametrize("value", [VALUES, OnlyArray(VALUES), OnlyDLPack(), VALUES.tolist()])
def test_one_array(value):
    assert is_array_like(value)
    np.testing.assert_array_equal(to_array("x", value), VALUES)
    np.testing.assert_array_equal(as_arrays("x", {"a": value})["a"], VALUES)


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    np.testing.assert_array_equal(to_array("x", frame), [[1, 0.5], [2, 1.5]])
    assert to_array("y", frame["a"]).dtype == np.int64
    assert to_array("y", pandas.Series(["cat", "dog"])).dtype.kind == "U"
    assert to_array("y", pandas.Series(["cat", "dog"], dtype="category")).dtype.kind == "U"


def test_structures_are_kept():
    pair = collections.namedtuple("Pair", "left right")
    found = as_arrays("x", pair([0, 1], [OnlyArray(VALUES), None]))
    assert isinstance(found, pair) and found.left.tolist() == [0, 1]
    assert isinstance(found.right, list) and found.right[1] is None
    np.testing.assert_array_equal(found.right[0], VALUES)
    ds = tf.data.Dataset.range(3)
    assert as_arrays("x", ds) is ds
    tensor = tf.constant([1.0])
    assert as_arrays("x", (tensor, 3))[0] is tensor


@pytest.mark.parametrize(
    "value", [3, "text", None, {"a": [1]}, np.float32(1), [], [VALUES, VALUES], ([1], [2])]
)
def test_what_is_not_one_array(value):
    assert not is_array_like(value)


def test_errors_in_one_line():
    with pytest.raises(InputError) as caught:
        to_array("x", OfAGraph(VALUES))
    message = str(caught.value)
    assert "`x` must be an array that NumPy can read. Received: a" in message
    assert "OfAGraph (Can't call numpy() on Tensor that requires grad" in message
    assert "detach().cpu().numpy()" in message and "\n" not in message
    with pytest.raises(InputError, match="pad rows of different lengths"):
        to_array("x", [[1, 2], [3]])
