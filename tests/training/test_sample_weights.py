"""Weights, masks and missing labels against Keras's own reduction."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.training import _sample_weights

RNG = np.random.default_rng(0)


def _keras_value(values, sample_weight=None, mask=None):
    """What a Keras loss makes of these values: |0 - values| is the loss per position."""

    class Given(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return y_pred[..., 0]

    y = tf.constant(values)[..., None]
    if mask is not None:
        y._keras_mask = tf.constant(mask)
    return float(Given()(tf.zeros_like(y), y, sample_weight))


@pytest.mark.parametrize("shape", [(1,), (6,), (4, 5), (2, 3, 4)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_reduction_is_keras_s(shape, weighted, masked):
    values = RNG.uniform(size=shape).astype("float32")
    sample_weight = RNG.uniform(size=shape).astype("float32") if weighted else None
    mask = RNG.uniform(size=shape) > 0.4 if masked else None
    ours = float(_sample_weights.reduce_values(tf.constant(values), sample_weight, mask))
    assert ours == pytest.approx(_keras_value(values, sample_weight, mask), rel=1e-5)


def test_weights_of_examples_reach_every_position():
    values = RNG.uniform(size=(4, 5)).astype("float32")
    w = RNG.uniform(size=4).astype("float32")
    expected = (values * w[:, None]).mean()
    for given in (w, w[:, None]):
        assert float(_sample_weights.reduce_values(tf.constant(values), given)) == pytest.approx(
            expected, rel=1e-5
        )


def test_nothing_valid_is_zero_not_nan():
    assert (
        float(_sample_weights.reduce_values(tf.ones((2, 3)), None, tf.zeros((2, 3), tf.bool))) == 0
    )


def test_mask_of_pooled_axes_is_left_out():
    assert float(_sample_weights.reduce_values(tf.ones(2), None, tf.zeros((2, 3), tf.bool))) == 1


def test_weights_for_axes_that_are_not_there():
    with pytest.raises(
        InputError, match=r"`sample_weight` .* must fit HintLoss, which has values of shape"
    ):
        _sample_weights.reduce_values(tf.ones(2), np.ones((2, 3)), None, "HintLoss")


def test_class_ids():
    outputs = np.zeros((4, 5, 3))
    assert _sample_weights.is_sparse(np.zeros((4, 5)), outputs)
    assert _sample_weights.is_sparse(np.zeros((4, 5, 1)), outputs)
    assert not _sample_weights.is_sparse(np.zeros((4, 5, 3)), outputs)
    assert not _sample_weights.is_sparse(np.zeros(4), np.zeros((4, 1)))
    assert not _sample_weights.is_sparse(np.zeros(4), np.zeros(4))


def test_missing_labels():
    outputs = tf.zeros((4, 3))
    mask = _sample_weights.has_label(tf.constant([0, -1, 2, -1]), outputs)
    assert mask.numpy().tolist() == [True, False, True, False]
    both = _sample_weights.has_label(
        tf.constant([0, -1, 2, 1]), outputs, tf.constant([True] * 3 + [False])
    )
    assert both.numpy().tolist() == [True, False, True, False]
    assert _sample_weights.has_label(tf.zeros((4, 3)), outputs) is None
    assert _sample_weights.has_label(tf.constant([1, 2, 0, 1], tf.uint8), outputs) is None
    column = _sample_weights.has_label(tf.constant([[0], [-1]]), tf.zeros((2, 3)))
    assert column.shape == (2,)


def test_minus_one_is_a_value_where_labels_are_no_class_ids():
    assert _sample_weights.has_label(tf.constant([[-1.0], [2.0]]), tf.zeros((2, 1))) is None
    assert _sample_weights.has_label(tf.constant([[-1.0, 1.0]]), tf.zeros((1, 2))) is None
    assert _sample_weights.has_label(tf.constant([-1.0, 1.0]), tf.zeros((2, 3))) is None
    assert _sample_weights.has_label(tf.constant([True, False]), tf.zeros((2, 2))) is None
    ids = tf.constant([-1, 1])
    assert _sample_weights.has_label(ids, tf.zeros((2, 2)), minus_one=False) is None


def test_missing_labels_hold_no_garbage():
    labels = tf.constant([[np.nan, 1.0], [0.0, 1.0]])
    safe = _sample_weights.without_missing(labels, tf.constant([False, True]))
    assert safe.numpy().tolist() == [[0, 0], [0, 1]]
    assert _sample_weights.without_missing(labels, None) is labels
