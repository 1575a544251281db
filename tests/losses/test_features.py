"""Losses on features: invariances, degenerate batches, extreme values, dropped rows."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.losses import functional as F

BATCH_LOSSES = {"similarity": F.similarity, "relational": F.relational}


def rand(*shape, seed=0, dtype=tf.float64):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def gradient(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(function(x))
    return tape.gradient(value, x).numpy()


def rotation(size, seed=0):
    return tf.constant(np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0])


T, S = rand(6, 5, seed=1), rand(6, 5, seed=2)


class TestHint:
    def test_gradient(self):
        g = gradient(lambda s: F.hint(T, s), S)
        np.testing.assert_allclose(g, 2 * (S - T) / 5)

    def test_a_value_per_position(self):
        t, s = rand(2, 3, 4, 5, seed=1), rand(2, 3, 4, 5, seed=2)
        values = F.hint(t, s)
        assert values.shape == (2, 3, 4)
        np.testing.assert_allclose(tf.reduce_mean(values), tf.reduce_mean((s - t) ** 2))

    def test_extreme_values(self):
        t, s = tf.constant([[1e4, -1e4]]), tf.constant([[-1e4, 1e4]])
        np.testing.assert_allclose(F.hint(t, s), [4e8], rtol=1e-6)
        np.testing.assert_allclose(gradient(lambda z: F.hint(t, z), s), [[-2e4, 2e4]])


class TestAttention:
    t, s = rand(3, 4, 2, 5, seed=1), rand(3, 4, 2, 7, seed=2)

    def test_maps_have_norm_one(self):
        a = F.attention_map(self.t)
        assert a.shape == (3, 8)
        np.testing.assert_allclose(tf.norm(a, axis=-1), 1)

    def test_free_of_scale_and_of_the_order_of_channels(self):
        value = F.attention_transfer(self.t, self.s)
        np.testing.assert_allclose(F.attention_transfer(-9 * self.t, self.s), value)
        np.testing.assert_allclose(F.attention_transfer(self.t, self.s[..., ::-1]), value)

    def test_gradient_is_orthogonal_to_the_features(self):
        g = gradient(lambda z: F.attention_transfer(self.t, z), self.s)
        np.testing.assert_allclose((g * self.s).numpy().sum(axis=(1, 2, 3)), 0, atol=1e-14)
        assert np.abs(g).max() > 1e-4

    def test_sequences(self):
        assert F.attention_transfer(rand(2, 6, 3), rand(2, 6, 8)).shape == (2,)

    @pytest.mark.parametrize("scale", [0.0, 1e-20, 1e4, 1e30])
    def test_any_size_of_features(self, scale):
        s = tf.cast(self.s, tf.float32) * scale
        values = F.attention_transfer(tf.cast(self.t, tf.float32), s)
        g = gradient(lambda z: F.attention_transfer(tf.cast(self.t, tf.float32), z), s)
        assert np.isfinite(values).all() and np.isfinite(g).all()
        if scale:
            np.testing.assert_allclose(values, F.attention_transfer(self.t, self.s), rtol=1e-5)


class TestSimilarity:
    def test_free_of_rotation_scale_and_width(self):
        value = F.similarity(T, S)
        assert value > 0.01
        np.testing.assert_allclose(F.similarity(T, 4 * S @ rotation(5)), value)
        wide = tf.concat([S, tf.zeros((6, 3), tf.float64)], axis=1)
        np.testing.assert_allclose(F.similarity(T, wide), value)
        np.testing.assert_allclose(F.similarity(T, T @ rotation(5)), 0, atol=1e-15)

    def test_batch_of_one_agrees_always(self):
        np.testing.assert_allclose(F.similarity(T[:1], S[:1]), 0, atol=1e-15)
        np.testing.assert_allclose(
            gradient(lambda s: F.similarity(T[:1], s), S[:1]), np.zeros((1, 5)), atol=1e-15
        )


class TestRelational:
    def test_free_of_rotation_scale_and_shift(self):
        value = F.relational(T, S)
        assert value > 0.01
        np.testing.assert_allclose(F.relational(T, 4 * S @ rotation(5) + 7), value)
        np.testing.assert_allclose(F.relational(T, T @ rotation(5) / 3 - 2), 0, atol=1e-15)

    def test_weights(self):
        distance, angle = F.relational(T, S, 1.0, 0.0), F.relational(T, S, 0.0, 1.0)
        np.testing.assert_allclose(F.relational(T, S, 25.0, 50.0), 25 * distance + 50 * angle)
        np.testing.assert_allclose(F.relational(T, S, 1.0, tf.constant(0.0)), distance)

    def test_batches_of_one_and_two(self):
        for n in (1, 2):
            s = S[:n]
            np.testing.assert_allclose(F.relational(T[:n], s), 0, atol=1e-15)
            g = gradient(lambda z, n=n: F.relational(T[:n], z), s)
            np.testing.assert_allclose(g, np.zeros((n, 5)), atol=1e-14)

    @pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
    def test_equal_examples(self, dtype):
        s = tf.cast(tf.gather(S, [0, 1, 1, 2, 3, 3]), dtype)
        value = F.relational(tf.cast(T, dtype), s)
        g = gradient(lambda z: F.relational(tf.cast(T, dtype), z), s)
        assert np.isfinite(value) and np.isfinite(g).all()
        same = tf.ones((4, 3), dtype)
        assert F.relational(same, same) == 0
        assert (gradient(lambda z: F.relational(same, z), same) == 0).all()

    def test_far_from_the_origin_in_single_precision(self):
        t, s = (tf.cast(1e3 + tf.round(64 * z) / 64, tf.float32) for z in (T, S))
        exact = F.relational(tf.cast(t, tf.float64), tf.cast(s, tf.float64))
        np.testing.assert_allclose(F.relational(t, s), exact, rtol=1e-5)


@pytest.mark.parametrize("name", BATCH_LOSSES)
class TestOverTheBatch:
    def test_dropped_rows_are_as_if_absent(self, name):
        loss = BATCH_LOSSES[name]
        keep = tf.constant([1.0, 0, 1, 1, 0, 1])
        rows = tf.where(keep > 0)[:, 0]
        small = loss(tf.gather(T, rows), tf.gather(S, rows))
        np.testing.assert_allclose(loss(T, S, keep=keep), small, rtol=1e-12)
        g = gradient(lambda s: loss(T, s, keep=keep), S)
        assert (g[[1, 4]] == 0).all() and np.abs(g[[0, 2]]).max() > 0
        np.testing.assert_allclose(
            g[rows], gradient(lambda s: loss(tf.gather(T, rows), s), tf.gather(S, rows))
        )

    def test_nothing_kept(self, name):
        loss = BATCH_LOSSES[name]
        assert loss(T, S, keep=tf.zeros(6)) == 0
        assert (gradient(lambda s: loss(T, s, keep=tf.zeros(6)), S) == 0).all()

    @pytest.mark.parametrize("scale", [0.0, 1e-15, 1e4, 1e15])
    def test_any_size_of_features(self, name, scale):
        loss = BATCH_LOSSES[name]
        t, s = tf.cast(T, tf.float32), tf.cast(S, tf.float32) * scale
        value, g = loss(t, s), gradient(lambda z: loss(t, z), s)
        assert np.isfinite(value) and np.isfinite(g).all()
        if scale:
            np.testing.assert_allclose(value, loss(T, S), rtol=1e-4)

    def test_a_row_of_zeros(self, name):
        s = tf.concat([tf.zeros((1, 5), tf.float64), S[1:]], axis=0)
        loss = BATCH_LOSSES[name]
        assert np.isfinite(loss(T, s)) and np.isfinite(gradient(lambda z: loss(T, z), s)).all()

    def test_features_of_any_two_shapes(self, name):
        value = BATCH_LOSSES[name](rand(4, 3, 3, 2, seed=1), rand(4, 9, seed=2))
        assert value.shape == () and value > 0
