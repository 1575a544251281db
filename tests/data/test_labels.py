import numpy as np
import pytest
import tensorflow as tf

from keras_distill import data
from keras_distill._internal import InputError


def make(counts):
    y = np.repeat(np.arange(len(counts)), counts)
    return tf.data.Dataset.from_tensor_slices((np.arange(len(y))[:, None], y)), y


def test_keeps_a_stratified_part_and_the_order():
    train, y = make((20, 40, 60))
    few = data.keep_labels(train, 12, seed=3)
    new = data.labels_of(few)
    assert few.element_spec == train.element_spec and int(few.cardinality()) == 120
    assert [int(x[0]) for x, _ in few] == list(range(120))
    assert np.bincount(new[new >= 0]).tolist() == [2, 4, 6]
    kept = new != data.UNLABELED
    np.testing.assert_array_equal(new[kept], y[kept])


def test_is_a_function_of_the_seed():
    train, _ = make((20, 40, 60))
    first, again, other = (data.labels_of(data.keep_labels(train, 12, seed=s)) for s in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_all_labels():
    train, y = make((3, 4))
    np.testing.assert_array_equal(data.labels_of(data.keep_labels(train, 7)), y)


@pytest.mark.parametrize("count", [0, 1, 2, 8, 1.5])
def test_bad_count(count):
    train, _ = make((1, 3, 3))
    with pytest.raises(InputError, match="count"):
        data.keep_labels(train, count)


def test_examples_that_have_no_label_take_none_of_the_count():
    y = np.repeat([0, 1, data.UNLABELED], [4, 4, 92])
    train = tf.data.Dataset.from_tensor_slices((np.arange(len(y))[:, None], y))
    new = data.labels_of(data.keep_labels(train, 4, seed=0))
    assert np.bincount(new[new >= 0]).tolist() == [2, 2]
    with pytest.raises(InputError, match="the number of labels, 8"):
        data.keep_labels(train, 9)
