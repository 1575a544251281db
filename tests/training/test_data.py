"""What is checked before the first step: the first batch."""

import keras
import numpy as np
import tensorflow as tf

from keras_distill import Distiller, Targets
from keras_distill.targets import PeekableDataset
from keras_distill.targets._read import EpochState
from keras_distill.training._data import Given


def test_first_batch_of_a_data_set():
    x, y = Given(tf.data.Dataset.range(10).batch(4)).first
    assert x.numpy().tolist() == [0, 1, 2, 3] and y is None


def test_first_batch_of_a_peekable_data_set_iterates_over_nothing():
    def fails(_):
        raise AssertionError("the data set was read")

    data = tf.data.Dataset.range(3).map(lambda i: tf.py_function(fails, [i], tf.int64)).batch(2)
    first = lambda: (tf.constant([7]), tf.constant([1]))  # noqa: E731
    x, y = Given(PeekableDataset(data, first, EpochState(0), 2)).first
    assert x.numpy().tolist() == [7] and y.numpy().tolist() == [1]


def test_first_batch_of_arrays():
    x, y = Given({"a": np.arange(6)}, np.arange(6), batch_size=2).first
    assert x["a"].numpy().tolist() == [0, 1] and y.tolist() == [0, 1]


def test_targets_without_logits_are_labels_for_a_live_teacher():
    """A data set cannot leave out a field of a tuple: it carries None."""
    x, y = np.ones((8, 3), "float32"), np.zeros(8, int)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    data = data.map(lambda x, y: (x, Targets(y, None, tf.constant([True, True, False, False]))))
    assert Given(data).known.teacher is None
    models = [keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]) for _ in range(2)]
    history = Distiller(*models).fit(data, verbose=0).history
    assert np.isfinite(history["soft_loss"]).all()
