"""Losses with a trained layer: values, gradients, weights, batch of one, extremes, precision."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import InputError, losses
from keras_distill.losses import functional as F

RNG = np.random.default_rng(11)
A, B = "a", "b"


def rand(*shape):
    return tf.constant(RNG.normal(size=shape), tf.float32)


VARIANCE = tf.constant([0.5, 4.0])
KERNEL = rand(2, 3)
QUEUES = rand(4, 5), rand(4, 5), tf.constant([1.0, 1.0, 0.0, 1.0])
MAPS = rand(6, 4, 3, 2), rand(6, 4, 3, 2)
VECTORS = rand(6, 5), rand(6, 5)


def variational(t, s):
    return t, (s, VARIANCE)


def contrastive(t, s):
    return (t, QUEUES[0], QUEUES[2]), (s, QUEUES[1], QUEUES[2])


def review(t, s):
    return [t, t[:, :2, :2]], [s, s[:, :2, :2]]


def softmax_regression(t, s):
    return [t, KERNEL], s


# A loss, what its trained layer would return for two tensors, and the tensors.
CASES = [
    (losses.VariationalLoss(A, B), variational, MAPS),
    (losses.ContrastiveLoss(A, B, temperature=0.5), contrastive, VECTORS),
    (losses.ReviewLoss([A, A], [B, B]), review, MAPS),
    (losses.SoftmaxRegressionLoss(A, B, "logits", 0.5, 2.0), softmax_regression, MAPS),
]
each = pytest.mark.parametrize(
    ("loss", "given", "pair"), CASES, ids=[type(c[0]).__name__ for c in CASES]
)
PER_EXAMPLE = [case for case in CASES if not case[0].over_batch]


def value_and_gradient(loss, given, t, s):
    with tf.GradientTape() as tape:
        tape.watch(s)
        value = loss.compute_loss(*given(t, s))
    return value, tape.gradient(value, s).numpy()


@each
def test_a_step_downhill_lowers_it(loss, given, pair):
    t, s = pair
    value, g = value_and_gradient(loss, given, t, s)
    assert value.shape == ()
    moved = s - 0.01 * g / np.abs(g).max()
    assert loss.compute_loss(*given(t, moved)) < value


@each
def test_the_gradient_is_that_of_differences(loss, given, pair):
    t, s = (tf.cast(x, tf.float64) for x in pair)
    _, g = value_and_gradient(loss, given, t, s)
    direction = tf.constant(RNG.normal(size=s.shape))
    ends = [loss.compute_loss(*given(t, s + h * direction)) for h in (1e-5, -1e-5)]
    np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, (g * direction).numpy().sum(), rtol=1e-5)


@each
def test_batch_of_one(loss, given, pair):
    value, g = value_and_gradient(loss, given, *(x[:1] for x in pair))
    assert np.isfinite(value) and np.isfinite(g).all()


@each
@pytest.mark.parametrize("scale", [0.0, 1e-10, 1e4])
def test_any_size_of_features(loss, given, pair, scale):
    value, g = value_and_gradient(loss, given, pair[0], scale * pair[1])
    assert np.isfinite(value) and np.isfinite(g).all()


@each
def test_half_precision_student(loss, given, pair):
    t, s = pair
    half = tf.cast(s, tf.float16)
    value = loss.compute_loss(*given(t, half))
    assert value.dtype == tf.float32
    np.testing.assert_allclose(value, loss.compute_loss(*given(t, s)), rtol=0.01)


@pytest.mark.parametrize(
    ("loss", "given", "pair"), PER_EXAMPLE, ids=lambda x: getattr(x, "__name__", "")
)
def test_values_do_not_see_each_other(loss, given, pair):
    t, s = pair
    values = loss.per_example(*given(t, s))
    assert values.shape[0] == 6 and values.shape == s.shape[: len(values.shape)]
    alone = loss.per_example(*given(t[2:3], s[2:3]))
    np.testing.assert_allclose(alone[0], values[2], rtol=1e-5)
    np.testing.assert_allclose(loss.compute_loss(*given(t, s)), np.mean(values), rtol=1e-5)


@each
def test_features_without_the_trained_layer_are_refused(loss, given, pair):
    with pytest.raises(InputError, match="Use keras_distill's Distiller"):
        loss.validate_outputs(*pair)
    loss.validate_outputs(*given(*pair))


class TestVariational:
    def test_the_best_variance_is_the_squared_error(self):
        t, s = MAPS
        error = tf.reduce_mean(tf.math.squared_difference(t, s), axis=(0, 1, 2))
        with tf.GradientTape() as tape:
            tape.watch(error)
            value = tf.reduce_mean(F.variational(t, s, error))
        np.testing.assert_allclose(tape.gradient(value, error), 0, atol=1e-6)

    def test_equal_features_leave_the_variance(self):
        np.testing.assert_allclose(
            F.variational(MAPS[0], MAPS[0], VARIANCE)[0, 0, 0],
            np.log(VARIANCE).mean() / 2,
            rtol=1e-6,
        )


class TestContrastive:
    t, s = VECTORS

    def test_free_of_the_size_of_embeddings(self):
        np.testing.assert_allclose(
            F.contrastive(9 * self.t, self.s / 7, 0.5),
            F.contrastive(self.t, self.s, 0.5),
            rtol=1e-5,
        )

    def test_without_negatives_it_is_zero(self):
        value, g = value_and_gradient(
            losses.ContrastiveLoss(A, B), lambda t, s: ((t,), (s,)), self.t[:1], self.s[:1]
        )
        assert value == 0 and (g == 0).all()
        empty = F.contrastive(self.t[:1], self.s[:1], 0.5, *QUEUES[:2], in_queue=tf.zeros(4))
        np.testing.assert_allclose(empty, 0, atol=1e-6)

    def test_empty_places_of_the_queue_are_as_if_absent(self):
        there = tf.constant([0, 1, 3])
        value = F.contrastive(self.t, self.s, 0.5, *QUEUES)
        small = F.contrastive(self.t, self.s, 0.5, *(tf.gather(q, there) for q in QUEUES[:2]))
        np.testing.assert_allclose(value, small, rtol=1e-6)

    def test_dropped_rows_are_as_if_absent(self):
        keep, rows = tf.constant([1.0, 0, 1, 1, 0, 1]), tf.constant([0, 2, 3, 5])
        small = F.contrastive(tf.gather(self.t, rows), tf.gather(self.s, rows), 0.5, *QUEUES)
        value = F.contrastive(self.t, self.s, 0.5, *QUEUES, keep=keep)
        np.testing.assert_allclose(value, small, rtol=1e-6)
        assert F.contrastive(self.t, self.s, keep=tf.zeros(6)) == 0
        loss = losses.ContrastiveLoss(A, B, temperature=0.5)
        weighted = loss.over_batch_value(*contrastive(self.t, self.s), sample_weight=2 * keep)
        np.testing.assert_allclose(weighted, small * 2 * 4 / 6, rtol=1e-6)
        with pytest.raises(InputError, match="relates the examples of a batch"):
            loss.over_batch_value(*contrastive(self.t, self.s), sample_weight=[1.0, 2, 1, 1, 1, 1])


class TestReview:
    def test_a_shift_that_cancels_in_a_cell_counts_less(self):
        checks = tf.reshape(tf.constant([1.0, -1.0] * 8), (1, 4, 4, 1))
        flat = tf.ones((1, 4, 4, 1))
        zero = tf.zeros((1, 4, 4, 1))
        assert F.hierarchical_context(zero, checks) < F.hierarchical_context(zero, flat)
        np.testing.assert_allclose(F.hierarchical_context(zero, flat), 1, rtol=1e-6)

    @pytest.mark.parametrize("shape", [(None, None, 4, 1), (2, 3)])
    def test_maps_of_known_size(self, shape):
        x = tf.TensorSpec(shape)
        with pytest.raises(InputError, match="must be maps"):
            tf.function(F.hierarchical_context, autograph=False).get_concrete_function(x, x)

    def test_stages_add_up(self):
        t, s = review(*MAPS)
        parts = [F.hierarchical_context(a, b) for a, b in zip(t, s, strict=True)]
        np.testing.assert_allclose(F.review(t, s), sum(parts), rtol=1e-6)

    @pytest.mark.parametrize("names", [[], "a", None])
    def test_names_are_lists(self, names):
        with pytest.raises(InputError, match="`teacher_layer_names` must be a list"):
            losses.ReviewLoss(names, ["b"])

    def test_as_many_layers_in_both(self):
        with pytest.raises(InputError, match="`student_layer_names` must have one layer for each"):
            losses.ReviewLoss(["a", "b"], ["c"])


class TestSoftmaxRegression:
    def test_it_is_the_difference_of_the_classifiers_logits(self):
        t, s = MAPS
        exact = tf.reduce_mean(((s @ KERNEL + 3) - (t @ KERNEL + 3)) ** 2, axis=-1)
        value = F.softmax_regression(t, s, KERNEL, feature_weight=0.0)
        np.testing.assert_allclose(value, exact, rtol=1e-4)

    @pytest.mark.parametrize("weights", [[], [rand(3, 2)], [rand(2)], [rand(1, 1, 2, 3)]])
    def test_a_layer_that_is_no_classifier_of_the_features(self, weights):
        with pytest.raises(InputError, match="needs a Dense layer on 2 channels"):
            CASES[3][0].validate_outputs([MAPS[0], *weights], MAPS[1])
