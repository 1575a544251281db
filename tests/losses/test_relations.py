"""DIST and multi-level: levels, invariances, degenerate rows and columns, dropped rows."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import InputError, MultiLevelLoss
from keras_distill.losses import functional as F


def rand(*shape, seed=0, scale=2.0):
    return tf.constant(scale * np.random.default_rng(seed).normal(size=shape))


def gradient(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x).numpy()


T, S = rand(5, 4, seed=1), rand(5, 4, seed=2)


def distance(a, b):
    return 1 - np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_against_numpy(temperature):
    p, q = (tf.nn.softmax(z / temperature).numpy() for z in (T, S))
    inter, intra = distance(p, q), distance(p.T, q.T)
    np.testing.assert_allclose(
        F.dist(T, S, temperature, 2.0, 3.0), temperature**2 * (2 * inter + 3 * intra), rtol=1e-9
    )


def test_equal_student_is_zero():
    np.testing.assert_allclose(F.dist(T, T), 0, atol=1e-9)


def test_free_of_a_shift_of_the_logits_and_of_the_order_of_rows():
    order = [3, 0, 4, 1, 2]
    value = F.dist(T, S)
    np.testing.assert_allclose(F.dist(T, S + 100), value, rtol=1e-9)
    np.testing.assert_allclose(F.dist(tf.gather(T, order), tf.gather(S, order)), value)


def test_leading_axes_are_rows():
    t, s = rand(2, 3, 4, seed=1), rand(2, 3, 4, seed=2)
    flat = F.dist(tf.reshape(t, (6, 4)), tf.reshape(s, (6, 4)))
    np.testing.assert_allclose(F.dist(t, s), flat)


def test_batch_of_one_has_rows_only():
    np.testing.assert_allclose(F.dist(T[:1], S[:1]), F.dist(T[:1], S[:1], intra_weight=0.0))
    assert np.isfinite(gradient(lambda s: F.dist(T[:1], s), S[:1])).all()


def test_dropped_rows_are_as_if_absent():
    keep = tf.constant([1.0, 0, 1, 0, 1])
    rows = [0, 2, 4]
    small = F.dist(tf.gather(T, rows), tf.gather(S, rows))
    np.testing.assert_allclose(F.dist(T, S, keep=keep), small)
    g = gradient(lambda s: F.dist(T, s, keep=keep), S)
    assert (g[[1, 3]] == 0).all() and np.abs(g[rows]).min() > 0


def test_nothing_kept():
    assert F.dist(T, S, keep=tf.zeros(5)) == 0
    assert (gradient(lambda s: F.dist(T, s, keep=tf.zeros(5)), S) == 0).all()


def test_uniform_student_has_a_finite_gradient_towards_the_teacher():
    s = tf.zeros_like(S)
    np.testing.assert_allclose(F.dist(T, s), 2.0)
    g = gradient(lambda z: F.dist(T, z, intra_weight=0.0), s)
    assert np.isfinite(g).all()
    downhill = -(g * (T - tf.reduce_mean(T, axis=1, keepdims=True))).numpy().sum(axis=1)
    assert (downhill > 0).all()


def test_extreme_logits():
    t = tf.constant([[1e4, -1e4, 0.0], [0.0, 1e4, -1e4]])
    np.testing.assert_allclose(F.dist(t, t), 0, atol=1e-5)
    s = tf.constant([[-1e4, 1e4, 0.0], [0.0, 1e4, -1e4]])
    value, g = F.dist(t, s), gradient(lambda z: F.dist(t, z), s)
    # Rows: (3/2 + 0)/2. Columns: the student's are constant, both's the last: (1 + 1 + 0)/3.
    np.testing.assert_allclose(value, 3 / 4 + 2 / 3, rtol=1e-5)
    np.testing.assert_array_equal(g, np.zeros((2, 3)))


def test_half_precision():
    t, s = tf.cast(T, tf.float16), tf.cast(S, tf.float16)
    assert F.dist(t, s).dtype == tf.float32


def test_classes_of_tiny_probability_still_correlate():
    """At 1,000 classes most columns hold probabilities far below any fixed epsilon's root."""
    t, s = rand(8, 50, seed=1), rand(8, 50, seed=2)
    low = tf.concat([tf.fill((1, 5), 20.0), tf.zeros((1, 45))], axis=1)
    t, s = t + tf.cast(low, t.dtype), s + tf.cast(low, s.dtype)
    p, q = tf.nn.softmax(t).numpy(), tf.nn.softmax(s).numpy()
    assert np.median(p) < 1e-8
    single = F.dist(tf.cast(t, tf.float32), tf.cast(s, tf.float32), inter_weight=0.0)
    np.testing.assert_allclose(single, distance(p.T, q.T), rtol=1e-4)


class TestMultiLevel:
    t, s = rand(6, 5, seed=1), rand(6, 5, seed=2)

    @staticmethod
    def only(instance, batch, classes):
        return {"instance_weight": instance, "batch_weight": batch, "class_weight": classes}

    def test_the_instance_level_is_soft_target(self):
        value = F.multi_level(self.t, self.s, [2.0, 5.0], **self.only(1.0, 0.0, 0.0))
        exact = [tf.reduce_mean(F.soft_target(self.t, self.s, at)) for at in (2.0, 5.0)]
        np.testing.assert_allclose(value, sum(exact), rtol=1e-12)

    def test_standardized_levels_are_those_of_standardized_logits(self):
        t, s = F.standardized(self.t), F.standardized(self.s)
        np.testing.assert_allclose(
            F.multi_level(self.t, self.s, standardize=True), F.multi_level(t, s), rtol=1e-12
        )
        scaled = F.multi_level(self.t, 7 * self.s + 3, standardize=True)
        np.testing.assert_allclose(scaled, F.multi_level(t, s), rtol=1e-5)

    @pytest.mark.parametrize("weights", [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
    def test_gram_levels_do_not_depend_on_the_order_of_the_other_axis(self, weights):
        """Examples compare with examples whatever the classes are called, and the reverse."""
        axis = 1 if weights[1] else 0
        moved = tf.gather(self.t, tf.range(self.t.shape[axis])[::-1], axis=axis)
        value = F.multi_level(self.t, moved, **self.only(*weights))
        np.testing.assert_allclose(value, 0, atol=1e-15)
        assert F.multi_level(self.t, self.s, **self.only(*weights)) > 1e-3

    def test_dropped_rows_are_as_if_absent(self):
        keep = tf.constant([1.0, 0, 1, 1, 0, 1])
        rows = tf.where(keep > 0)[:, 0]
        small = F.multi_level(tf.gather(self.t, rows), tf.gather(self.s, rows))
        np.testing.assert_allclose(F.multi_level(self.t, self.s, keep=keep), small, rtol=1e-12)
        with tf.GradientTape() as tape:
            tape.watch(self.s)
            value = F.multi_level(self.t, self.s, keep=keep)
        g = tape.gradient(value, self.s).numpy()
        assert (g[[1, 4]] == 0).all() and np.abs(g[[0, 2]]).max() > 0
        assert F.multi_level(self.t, self.s, keep=tf.zeros(6)) == 0

    @pytest.mark.parametrize("temperatures", [[], 4.0, None, "4"])
    def test_temperatures_are_a_list(self, temperatures):
        with pytest.raises(InputError, match="`temperatures` must be a list"):
            MultiLevelLoss(temperatures)

    def test_each_temperature_is_checked(self):
        with pytest.raises(InputError, match=r"`temperatures\[1\]` must be > 0"):
            MultiLevelLoss([1.0, 0.0])
