"""The pure functions: identities, limits, extreme logits, dtypes, bad shapes."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import InputError, TopK
from keras_distill.losses import functional as F


def rand(*shape, seed=0, scale=3.0, dtype=tf.float64):
    return tf.constant(scale * np.random.default_rng(seed).normal(size=shape), dtype)


def gradient(function, student):
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = tf.reduce_sum(function(student))
    return tape.gradient(value, student).numpy()


T, S = rand(4, 6, seed=1), rand(4, 6, seed=2)


class TestTemperature:
    def test_worked_example(self):
        q = tf.exp(F.log_softmax([8.0, 2.0, 0.5], 5.0))
        np.testing.assert_allclose(q, [0.656, 0.198, 0.146], atol=5e-4)

    def test_one_is_softmax(self):
        np.testing.assert_allclose(tf.exp(F.log_softmax(S)), tf.nn.softmax(S), rtol=1e-12)

    def test_uniform_as_it_grows(self):
        gaps = [
            float(tf.reduce_max(tf.abs(tf.exp(F.log_softmax(S, t)) - 1 / 6)))
            for t in (1e1, 1e2, 1e3, 1e6)
        ]
        assert gaps == sorted(gaps, reverse=True)
        assert gaps[-1] < 1e-5

    @pytest.mark.parametrize("temperature", [tf.constant(3.0), np.float64(3), 3])
    def test_any_kind_of_number(self, temperature):
        np.testing.assert_array_equal(F.log_softmax(S, temperature), F.log_softmax(S, 3.0))

    def test_number_keeps_float64(self):
        exact = np.log(np.exp(0.3 / 0.1) / (np.exp(0.3 / 0.1) + 1))
        assert (
            abs(float(F.log_softmax(tf.constant([0.3, 0.0], tf.float64), 0.1)[0]) - exact) < 1e-14
        )


class TestSoftTarget:
    @pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
    def test_gradient_formula(self, temperature):
        q, p = tf.nn.softmax(S / temperature), tf.nn.softmax(T / temperature)
        np.testing.assert_allclose(
            gradient(lambda s: F.soft_target(T, s, temperature), S),
            temperature * (q - p),
            rtol=1e-9,
            atol=1e-12,
        )

    def test_cross_entropy_has_the_same_gradient_and_differs_by_entropy(self):
        kl = gradient(lambda s: F.soft_target(T, s, 4.0), S)
        ce = gradient(lambda s: F.soft_cross_entropy(T, s, 4.0), S)
        np.testing.assert_allclose(kl, ce, rtol=1e-9, atol=1e-13)
        gap = F.soft_cross_entropy(T, S, 4.0) - F.soft_target(T, S, 4.0)
        np.testing.assert_allclose(gap, F.soft_cross_entropy(T, T, 4.0), rtol=1e-12)

    def test_ratio_to_logit_matching_tends_to_one(self):
        t, s = (z - tf.reduce_mean(z, axis=-1, keepdims=True) for z in (T, S))
        gaps = []
        for temperature in (1.0, 10.0, 100.0, 1000.0, 10000.0):
            soft = gradient(lambda z, at=temperature: F.soft_target(t, z, at), s)
            ratio = soft / gradient(lambda z: F.logit_matching(t, z), s)
            gaps.append(np.abs(ratio - 1).max())
        assert gaps == sorted(gaps, reverse=True)
        assert gaps[-1] < 0.005
        values = F.soft_target(t, s, 1e4) / F.logit_matching(t, s)
        np.testing.assert_allclose(values, 1, atol=2e-3)

    def test_zero_for_an_equal_or_shifted_student(self):
        np.testing.assert_allclose(F.soft_target(T, T + 5), 0, atol=1e-12)

    def test_extreme_logits(self):
        t = tf.constant([[1e4, -1e4, 0.0]])
        s = tf.constant([[-1e4, 1e4, 0.0]])
        np.testing.assert_allclose(F.soft_target(t, s, 4.0), [16 * 2e4 / 4], rtol=1e-6)
        g = gradient(lambda z: F.soft_target(t, z, 4.0), s)
        np.testing.assert_allclose(g, [[-4.0, 4.0, 0.0]], atol=1e-6)

    def test_kl_that_clipped_probabilities_lose(self):
        t, s = tf.constant([[60.0, 0.0]]), tf.constant([[0.0, 60.0]])
        np.testing.assert_allclose(F.soft_target(t, s, 1.0), [60.0], rtol=1e-6)
        np.testing.assert_allclose(
            gradient(lambda z: F.soft_target(t, z, 1.0), s), [[-1.0, 1.0]], atol=1e-6
        )

    def test_classes_ruled_out_by_both(self):
        t = tf.constant([[1.0, -np.inf, 0.0]])
        s = tf.constant([[0.0, -np.inf, 0.0]])
        small = F.soft_target(t[:, ::2], s[:, ::2], 2.0)
        np.testing.assert_allclose(F.soft_target(t, s, 2.0), small, rtol=1e-6)
        g = gradient(lambda z: F.soft_target(t, z, 2.0), s)
        assert np.isfinite(g).all() and g[0, 1] == 0

    def test_any_leading_shape(self):
        t, s = rand(2, 3, 4, 5, seed=3), rand(2, 3, 4, 5, seed=4)
        values = F.soft_target(t, s)
        assert values.shape == (2, 3, 4)
        flat = F.soft_target(tf.reshape(t, (-1, 5)), tf.reshape(s, (-1, 5)))
        np.testing.assert_allclose(tf.reshape(values, -1), flat)
        np.testing.assert_allclose(F.soft_target(t[0, 0, 0], s[0, 0, 0]), values[0, 0, 0])

    def test_half_precision_is_computed_in_single(self):
        for dtype in (tf.float16, tf.bfloat16):
            t, s = tf.cast(T, dtype), tf.cast(S, dtype)
            values = F.soft_target(t, s)
            assert values.dtype == tf.float32
            exact = F.soft_target(tf.cast(t, tf.float64), tf.cast(s, tf.float64))
            np.testing.assert_allclose(values, exact, rtol=1e-5)

    def test_wider_dtype_wins(self):
        assert F.soft_target(tf.cast(T, tf.float32), S).dtype == tf.float64
        assert F.soft_target(T.numpy(), S.numpy()).dtype == tf.float64
        assert F.soft_target([[1, 0]], [[0, 1]]).dtype == tf.float32

    def test_nan_stays_nan(self):
        assert np.isnan(F.soft_target([[np.nan, 0.0]], [[0.0, 0.0]])).all()
        assert np.isnan(F.soft_target([[0.0, 0.0]], [[np.nan, 0.0]])).all()


class TestDecoupled:
    labels = tf.constant([0, 5, 2, 2])

    def test_equals_the_divergence_for_the_teachers_own_weights(self):
        for i, label in enumerate(self.labels.numpy()):
            p = float(tf.nn.softmax(T[i] / 4.0)[label])
            args = T[i : i + 1], S[i : i + 1], self.labels[i : i + 1]
            np.testing.assert_allclose(
                F.decoupled(*args, target_weight=1.0, nontarget_weight=1 - p),
                F.soft_target(args[0], args[1]),
                rtol=1e-10,
            )

    def test_weights_are_linear(self):
        both, target, rest = (
            F.decoupled(T, S, self.labels, target_weight=a, nontarget_weight=b)
            for a, b in ((2.0, 3.0), (1.0, 0.0), (0.0, 1.0))
        )
        np.testing.assert_allclose(both, 2 * target + 3 * rest)

    def test_nontarget_part_does_not_move_the_target_logit(self):
        g = gradient(lambda s: F.decoupled(T, s, self.labels, target_weight=0.0), S)
        np.testing.assert_allclose(g[np.arange(4), self.labels], 0, atol=1e-12)

    def test_forms_of_labels(self):
        ids = F.decoupled(T, S, self.labels)
        np.testing.assert_array_equal(F.decoupled(T, S, self.labels[:, None]), ids)
        np.testing.assert_array_equal(F.decoupled(T, S, tf.one_hot(self.labels, 6)), ids)
        np.testing.assert_array_equal(F.decoupled(T, S, tf.cast(self.labels, tf.float32)), ids)

    def test_unlabeled_is_zero_with_zero_gradient(self):
        labels = tf.constant([0, -1, 2, -1])
        values = F.decoupled(T, S, labels).numpy()
        assert (values[[1, 3]] == 0).all() and (values[[0, 2]] > 0).all()
        g = gradient(lambda s: F.decoupled(T, s, labels), S)
        assert (g[[1, 3]] == 0).all() and np.abs(g[[0, 2]]).min() > 0

    def test_extreme_logits(self):
        t, s = tf.constant([[1e4, -1e4, 0.0]]), tf.constant([[-1e4, 1e4, 0.0]])
        value = F.decoupled(t, s, [0], 4.0, 1.0, 8.0)
        np.testing.assert_allclose(value, [16 * (5000 + 8 * 2500)], rtol=1e-6)
        g = gradient(lambda z: F.decoupled(t, z, [0], 4.0, 1.0, 8.0), s)
        np.testing.assert_allclose(g, [[-4.0, 4 * 9, -4 * 8]], rtol=1e-6)

    def test_two_classes_have_no_nontarget_part(self):
        t, s = T[:, :2], S[:, :2]
        labels = tf.constant([0, 1, 0, 1])
        np.testing.assert_allclose(F.decoupled(t, s, labels), F.soft_target(t, s), rtol=1e-9)

    def test_sequences(self):
        t, s = rand(2, 3, 5, seed=5), rand(2, 3, 5, seed=6)
        labels = tf.constant([[0, 1, -1], [4, 3, 2]])
        values = F.decoupled(t, s, labels)
        assert values.shape == (2, 3) and values[0, 2] == 0
        np.testing.assert_allclose(F.decoupled(t[1], s[1], labels[1]), values[1])

    def test_labels_of_another_shape(self):
        with pytest.raises(InputError, match=r"`labels` must be class ids, or one-hot rows of 6"):
            F.decoupled(T, S, tf.zeros((4, 3), tf.int32))


class TestStandardized:
    def test_mean_zero_deviation_one(self):
        z = F.standardized(S).numpy()
        np.testing.assert_allclose(z.mean(axis=-1), 0, atol=1e-12)
        np.testing.assert_allclose(z.std(axis=-1, ddof=1), 1, rtol=1e-6)

    def test_loss_is_free_of_shift_and_scale(self):
        a = F.soft_target(F.standardized(T), F.standardized(S))
        b = F.soft_target(F.standardized(50 * T - 3), F.standardized(S / 7 + 2))
        np.testing.assert_allclose(a, b, rtol=1e-5)

    def test_constant_logits(self):
        z = tf.ones((2, 4))
        np.testing.assert_array_equal(F.standardized(z), np.zeros((2, 4)))
        assert np.isfinite(gradient(F.standardized, z)).all()

    def test_extreme_logits(self):
        z = tf.constant([[1e4, -1e4, 0.0]])
        np.testing.assert_allclose(F.standardized(z), [[1.0, -1.0, 0.0]], atol=1e-6)


class TestOthers:
    def test_logit_matching_gradient(self):
        g = gradient(lambda s: F.logit_matching(T, s), S)
        np.testing.assert_allclose(g, (S - T) / 6)

    def test_multi_label_is_binary_cross_entropy_less_entropy(self):
        p = tf.sigmoid(T)

        def bce(z):
            return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(p, z), axis=-1)

        np.testing.assert_allclose(F.multi_label_soft(T, S, 1.0), bce(S) - bce(T), rtol=1e-9)

    def test_multi_label_equals_soft_target_of_two_classes(self):
        pair = [tf.stack([z, tf.zeros_like(z)], axis=-1) for z in (T, S)]
        np.testing.assert_allclose(
            F.multi_label_soft(T, S, 3.0),
            tf.reduce_mean(F.soft_target(*pair, 3.0), axis=-1),
            rtol=1e-9,
        )

    def test_multi_label_extreme_logits(self):
        t, s = tf.constant([[1e4, -1e4]]), tf.constant([[-1e4, 1e4]])
        np.testing.assert_allclose(F.multi_label_soft(t, s, 4.0), [16 * 2500.0], rtol=1e-6)
        g = gradient(lambda z: F.multi_label_soft(t, z, 4.0), s)
        np.testing.assert_allclose(g, [[-2.0, 2.0]], rtol=1e-6)

    def test_regression_of_rank_one(self):
        np.testing.assert_array_equal(F.regression([1.0, 2.0], [1.0, 5.0]), [0.0, 9.0])
        np.testing.assert_array_equal(F.regression([1.0, 2.0], [1.0, 5.0], delta=1.0), [0.0, 2.5])

    def test_huber_gradient_is_bounded(self):
        s = tf.constant([[1e4, -1e4, 0.5]])
        g = gradient(lambda z: F.regression(tf.zeros_like(z), z, delta=2.0), s)
        np.testing.assert_allclose(g, [[2 / 3, -2 / 3, 0.5 / 3]], rtol=1e-6)

    @pytest.mark.parametrize("name", ["dist", "multi_label_soft", "regression", "hint"])
    def test_topk_is_refused_in_words(self, name):
        topk = TopK(tf.constant([[0]]), tf.ones((1, 1)), tf.ones(1), tf.ones(1))
        with pytest.raises(InputError, match="`teacher` must hold every logit for this loss"):
            getattr(F, name)(topk, tf.ones((1, 3)))


class TestUnderXLA:
    """The losses that scatter and gather; the shapes stay static."""

    def test_same_value_and_gradient(self):
        top = tf.math.top_k(T, 3)
        topk = TopK(top.indices, top.values, tf.zeros(4, tf.float64), tf.ones(4, tf.float64))

        def both(s):
            with tf.GradientTape() as tape:
                tape.watch(s)
                value = tf.reduce_sum(F.soft_target(topk, s))
                value += tf.reduce_sum(F.decoupled(T, s, [0, 5, -1, 2]))
            return value, tape.gradient(value, s)

        for plain, compiled in zip(both(S), tf.function(both, jit_compile=True)(S), strict=True):
            np.testing.assert_allclose(compiled, plain, rtol=1e-9)
