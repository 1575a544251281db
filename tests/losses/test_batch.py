"""Sample weights of losses over the batch: rows dropped, a common weight, others refused."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import DISTLoss, InputError, MultiLevelLoss, RelationalLoss, SimilarityLoss

rng = np.random.default_rng(0)
T, S = (tf.constant(rng.normal(size=(6, 4)), tf.float32) for _ in range(2))
LOSSES = [DISTLoss(), MultiLevelLoss(), SimilarityLoss("a", "b"), RelationalLoss("a", "b")]

each = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)


@each
def test_a_common_weight_scales(loss):
    value = loss.over_batch_value(T, S)
    for weight in (tf.fill((6,), 3.0), np.full(6, 3), np.full((6, 1), 3.0)):
        np.testing.assert_allclose(
            loss.over_batch_value(T, S, sample_weight=weight), 3 * value, rtol=1e-6
        )


@each
def test_rows_of_weight_zero_are_dropped(loss):
    weight = tf.constant([1.0, 1, 0, 1, 0, 1])
    kept = [0, 1, 3, 5]
    small = loss.over_batch_value(tf.gather(T, kept), tf.gather(S, kept))
    np.testing.assert_allclose(
        loss.over_batch_value(T, S, sample_weight=weight), small * 4 / 6, rtol=1e-5
    )
    # A mask as Keras rescales it: the value over the rows kept.
    np.testing.assert_allclose(
        loss.over_batch_value(T, S, sample_weight=weight * 6 / 4), small, rtol=1e-5
    )
    assert loss.over_batch_value(T, S, sample_weight=tf.zeros(6)) == 0


@each
def test_other_weights_are_refused_in_words(loss):
    with pytest.raises(InputError) as error:
        loss.over_batch_value(T, S, sample_weight=[1.0, 2, 1, 0, 1, 1])
    assert str(error.value) == (
        f"{type(loss).__name__} relates the examples of a batch, so every sample weight must be 0"
        " (the row is dropped) or one and the same. Received: sample_weight from 1 to 2."
        " Use a loss with a value per example, or no class_weight and equal sample_weight."
    )


@each
def test_other_weights_known_only_in_the_graph_are_refused_in_words(loss):
    @tf.function
    def value(weight):
        return loss.over_batch_value(T, S, sample_weight=weight)

    good = value(tf.constant([1.0, 1, 0, 1, 0, 1]))
    np.testing.assert_allclose(
        good, loss.over_batch_value(T, S, sample_weight=[1, 1, 0, 1, 0, 1]), rtol=1e-6
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="relates the examples of a batch"):
        value(tf.constant([1.0, 2, 0, 1, 0, 1]))


def test_under_xla_other_weights_give_nan():
    value = tf.function(
        lambda weight: DISTLoss().over_batch_value(T, S, sample_weight=weight), jit_compile=True
    )
    assert np.isnan(value(tf.constant([1.0, 2, 0, 1, 0, 1])))
    np.testing.assert_allclose(value(tf.ones(6)), DISTLoss().over_batch_value(T, S), rtol=1e-5)


def test_weights_of_sequences():
    t, s = (tf.reshape(x, (2, 3, 4)) for x in (T, S))
    loss = DISTLoss()
    by_position = loss.over_batch_value(t, s, sample_weight=[[1, 1, 0], [1, 0, 0]])
    flat = loss.over_batch_value(T, S, sample_weight=[1, 1, 0, 1, 0, 0])
    np.testing.assert_allclose(by_position, flat, rtol=1e-6)
    by_sequence = loss.over_batch_value(t, s, sample_weight=[1.0, 0.0])
    np.testing.assert_allclose(by_sequence, loss.over_batch_value(t[:1], s[:1]) / 2, rtol=1e-5)


def test_weights_of_too_many_axes():
    with pytest.raises(InputError, match="`sample_weight` must have at most 1 axes here"):
        DISTLoss().over_batch_value(T, S, sample_weight=tf.ones((6, 2)))
