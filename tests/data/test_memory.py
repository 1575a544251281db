import numpy as np
import pytest
import tensorflow as tf

from keras_distill import data
from keras_distill.data import MemoryDataset

X = np.arange(60, dtype=np.uint8).reshape(20, 3)
Y = np.arange(20, dtype=np.int64)


def elements(ds):
    return [(x.tolist(), y.tolist()) for x, y in ds.as_numpy_iterator()]


def test_it_is_a_data_set_like_the_one_of_its_tensors():
    plain, memory = tf.data.Dataset.from_tensor_slices((X, Y)), MemoryDataset((X, Y))
    assert memory.element_spec == plain.element_spec
    assert int(memory.cardinality()) == len(memory) == 20
    assert elements(memory) == elements(plain) == elements(memory)
    assert elements(memory.skip(3).batch(4)) == elements(plain.skip(3).batch(4))
    assert elements(memory.map(lambda x, y: (x, y + 1))) == elements(
        plain.map(lambda x, y: (x, y + 1))
    )


@pytest.mark.parametrize("buffer", [None, 7])
@pytest.mark.parametrize("drop", [False, True])
def test_gathered_batches_are_those_of_shuffled_elements(buffer, drop):
    plain, memory = tf.data.Dataset.from_tensor_slices((X, Y)), MemoryDataset((X, Y))
    settings = {"shuffle_seed": 5, "epoch": 2, "epochs": 3, "buffer": buffer}
    expected = elements(data.batches(plain, 6, drop_remainder=drop, **settings))
    found = data.batches(memory, 6, drop_remainder=drop, **settings)
    assert elements(found) == expected
    assert int(found.cardinality()) == len(expected)
    assert elements(data.batches(memory, 6)) == elements(data.batches(plain, 6))


def test_sources_in_memory_and_few_labels_of_them_are_gathered_from():
    train = data.load("digits").train
    assert isinstance(train, MemoryDataset)
    few = data.keep_labels(train, 100, seed=3)
    assert isinstance(few, MemoryDataset) and few.tensors[0] is train.tensors[0]
    plain = data.keep_labels(tf.data.Dataset.from_tensor_slices(train.tensors), 100, seed=3)
    np.testing.assert_array_equal(data.labels_of(few), data.labels_of(plain))


def test_structures_are_gathered_whole():
    ds = MemoryDataset(({"a": X, "b": Y}, Y))
    x, y = ds.gather(tf.constant([4, 2], tf.int64))
    np.testing.assert_array_equal(x["a"], X[[4, 2]])
    np.testing.assert_array_equal(x["b"], y)
