"""The soft-target loss against a top-k teacher, measured against the dense one."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import TopK
from keras_distill.losses import functional as F


def topk(t, k):
    """A `TopK` of dense logits, as a store makes it."""
    indices = np.argsort(-t, axis=-1)[..., :k]
    out = np.ones(t.shape, bool)
    np.put_along_axis(out, indices, False, axis=-1)
    rest = t[out].reshape(*t.shape[:-1], t.shape[-1] - k)
    mean, var = (rest.mean(-1), rest.var(-1)) if rest.shape[-1] else (0 * t[..., 0],) * 2
    return TopK(indices, np.take_along_axis(t, indices, axis=-1), mean, var)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gradient(teacher, s, temperature):
    s = tf.constant(s)
    with tf.GradientTape() as tape:
        tape.watch(s)
        value = tf.reduce_sum(F.soft_target(teacher, s, temperature))
    return tape.gradient(value, s).numpy()


def random_pair(classes=1000, rows=50, spread=2.0, noise=0.7):
    rng = np.random.default_rng(0)
    t = spread * rng.normal(size=(rows, classes))
    return t, t + noise * rng.normal(size=t.shape)


def structured_pair(classes=100, rows=50):
    """Logits of examples near class prototypes, classes in families: a long upper tail."""
    rng = np.random.default_rng(0)
    family = np.repeat(rng.normal(size=(classes // 20, 32)), 20, axis=0)
    prototypes = family + 0.6 * rng.normal(size=(classes, 32))
    x = prototypes[rng.integers(0, classes, rows)] + 0.8 * rng.normal(size=(rows, 32))
    basis = np.linalg.qr(rng.normal(size=(32, 12)))[0]
    return 0.35 * x @ prototypes.T, 0.5 * (x @ basis) @ (prototypes @ basis).T


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_all_classes_kept_is_dense(temperature):
    t, s = random_pair(classes=7)
    kept = topk(t, 7)
    np.testing.assert_allclose(
        F.soft_target(kept, s, temperature), F.soft_target(t, s, temperature), rtol=1e-10
    )
    np.testing.assert_allclose(
        gradient(kept, s, temperature), gradient(t, s, temperature), rtol=1e-9, atol=1e-12
    )


def test_equal_logits_in_both_rests_is_dense():
    t, s = random_pair(classes=9, rows=6)
    kept = topk(t, 4)
    for i, indices in enumerate(kept.indices):
        rest = np.setdiff1d(np.arange(9), indices)
        t[i, rest], s[i, rest] = t[i].min(), -0.3
    kept = topk(t, 4)
    np.testing.assert_allclose(F.soft_target(kept, s, 3.0), F.soft_target(t, s, 3.0), rtol=1e-10)
    np.testing.assert_allclose(gradient(kept, s, 3.0), gradient(t, s, 3.0), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("pair", [random_pair, structured_pair])
@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_gradient_formula(pair, temperature):
    """q - p for the kept, q·(1 - P/Q) for the rest: it keeps the student's own proportions."""
    t, s = pair()
    kept = topk(t, 10)
    rest = kept.rest_mean / temperature + kept.rest_var / (2 * temperature**2)
    rest = np.minimum(rest, kept.logits.min(-1) / temperature) + np.log(t.shape[1] - 10)
    p = softmax(np.concatenate([kept.logits / temperature, rest[:, None]], axis=1))
    q = softmax(s / temperature)
    q_kept = np.take_along_axis(q, kept.indices, axis=1)
    expected = q * (1 - p[:, -1:] / (1 - q_kept.sum(axis=1, keepdims=True)))
    np.put_along_axis(expected, kept.indices, q_kept - p[:, :-1], axis=1)
    np.testing.assert_allclose(
        gradient(kept, s, temperature), temperature * expected, rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("pair", [random_pair, structured_pair])
@pytest.mark.parametrize("temperature", [2.0, 4.0, 20.0])
def test_is_the_dense_value_less_what_happens_within_the_rest(pair, temperature):
    t, s = pair()
    p, q = softmax(t / temperature), softmax(s / temperature)
    kept = topk(t, 10)
    outside = np.ones(t.shape, bool)
    np.put_along_axis(outside, kept.indices, False, axis=1)
    mass, other = (np.where(outside, x, 0).sum(axis=1, keepdims=True) for x in (p, q))
    within = np.where(outside, p * np.log((p / mass) / (q / other)), 0).sum(axis=1)
    lumped = F.soft_target(t, s, temperature) - temperature**2 * within
    ours = F.soft_target(kept, s, temperature).numpy()
    # Equal up to the error of the rest's mass: smaller the warmer and the nearer to normal logits.
    worst = np.abs(ours - lumped).mean() / np.mean(lumped)
    assert worst < {2.0: 0.25, 4.0: 0.5, 20.0: 0.05}[temperature]
    assert ours.mean() < np.mean(F.soft_target(t, s, temperature))


def test_near_dense_where_the_rest_is_small():
    t, s = structured_pair()
    for temperature in (1.0, 2.0):
        dense = np.mean(F.soft_target(t, s, temperature))
        assert abs(np.mean(F.soft_target(topk(t, 50), s, temperature)) / dense - 1) < 0.1
        a, b = (gradient(teacher, s, temperature).ravel() for teacher in (t, topk(t, 50)))
        assert a @ b / np.sqrt(a @ a * (b @ b)) > 0.99


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_student_equal_to_the_teacher_is_near_zero(temperature):
    t, _ = random_pair()
    value = np.mean(F.soft_target(topk(t, 50), t, temperature))
    assert 0 <= value < 0.06


def test_rest_mass_never_exceeds_what_the_smallest_kept_logit_allows():
    kept = TopK([[0]], [[2.0]], [0.0], [100.0])
    flat = TopK([[0]], [[2.0]], [2.0], [0.0])
    s = tf.constant([[1.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(F.soft_target(kept, s, 1.0), F.soft_target(flat, s, 1.0), rtol=1e-6)


def test_kept_classes_that_hold_everything():
    kept = TopK([[1, 0]], [[1e4, 1e4]], [-1e4], [0.0])
    s = tf.constant([[1e4, 1e4, -1e4, -1e4]])
    np.testing.assert_allclose(F.soft_target(kept, s, 4.0), [0.0], atol=1e-5)
    np.testing.assert_allclose(gradient(kept, s, 4.0), np.zeros((1, 4)), atol=1e-6)


def test_extreme_logits():
    kept = TopK([[0]], [[1e4]], [-1e4], [0.0])
    s = tf.constant([[-1e4, 0.0, 1e4]])
    np.testing.assert_allclose(F.soft_target(kept, s, 4.0), [16 * 5000.0], rtol=1e-6)
    np.testing.assert_allclose(gradient(kept, s, 4.0), [[-4.0, 0.0, 4.0]], atol=1e-6)
    even = TopK([[0]], [[0.0]], [0.0], [0.0])
    s = tf.constant([[1e4, -1e4, -1e4]])
    np.testing.assert_allclose(gradient(even, s, 4.0), [[8 / 3, -4 / 3, -4 / 3]], rtol=1e-5)


def test_half_precision_and_small_integers_as_stored():
    t, s = random_pair(classes=300, rows=4)
    kept = topk(t, 5)
    stored = TopK(kept.indices.astype(np.uint16), *(p.astype(np.float16) for p in kept[1:4]))
    values = F.soft_target(stored, tf.constant(s, tf.float32), 4.0)
    assert values.dtype == tf.float32
    np.testing.assert_allclose(values, F.soft_target(kept, s, 4.0), rtol=0.02)


def test_leading_shapes_and_one_left_out():
    t, s = random_pair(classes=6, rows=12)
    flat = F.soft_target(topk(t, 5), s, 2.0)
    shaped = F.soft_target(topk(t.reshape(3, 4, 6), 5), s.reshape(3, 4, 6), 2.0)
    np.testing.assert_allclose(tf.reshape(shaped, -1), flat)
    np.testing.assert_allclose(flat, F.soft_target(t, s, 2.0), rtol=1e-9)


def test_unknown_batch_size_in_a_graph():
    t, s = random_pair(classes=20, rows=5)
    spec = [tf.TensorSpec((None, n), tf.float64) for n in (3, 20)]

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.int32), *spec])
    def loss(indices, logits, s):
        rest = tf.zeros_like(logits[:, 0])
        return F.soft_target(TopK(indices, logits, rest, rest), s, 2.0)

    kept = topk(t, 3)
    kept = TopK(kept.indices, kept.logits, np.zeros(5), np.zeros(5))
    np.testing.assert_allclose(
        loss(tf.cast(kept.indices, tf.int32), kept.logits, s), F.soft_target(kept, s, 2.0)
    )


def test_standardized_topk_has_the_dense_mean_and_deviation():
    t, _ = random_pair(classes=30, rows=6)
    whole = F.standardized(t)
    kept = F.standardized(topk(t, 4), 30)
    again = topk(whole.numpy(), 4)
    for ours, exact in zip(kept[:4], again[:4], strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-6)


def test_standardized_topk_with_every_class_ignores_the_rest():
    t, _ = random_pair(classes=5, rows=3)
    kept = topk(t, 5)._replace(rest_mean=np.full(3, np.nan), rest_var=np.full(3, np.nan))
    exact = np.take_along_axis(F.standardized(t).numpy(), kept.indices, axis=-1)
    np.testing.assert_allclose(F.standardized(kept, 5).logits, exact)


def test_logit_matching_is_the_hot_limit_on_a_topk():
    t, s = random_pair(classes=12, rows=5)
    t, s = (z - z.mean(axis=1, keepdims=True) for z in (t, s))
    kept = topk(t, 3)._replace(rest_var=np.zeros(5))
    np.testing.assert_allclose(F.soft_target(kept, s, 1e4), F.logit_matching(kept, s), rtol=3e-3)
    whole = topk(t, 12)
    np.testing.assert_allclose(F.logit_matching(whole, s), F.logit_matching(t, s), rtol=1e-10)
    assert (F.logit_matching(kept, s).numpy() < F.logit_matching(t, s).numpy()).all()


def test_log_probabilities_are_those_of_the_divergence():
    t, s = random_pair(classes=40, rows=6)
    kept = topk(t, 5)
    log_p = F.topk_log_probabilities(kept, 40, 3.0).numpy()
    assert log_p.shape == (6, 6)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1)
    q = softmax(s / 3.0)
    q_kept = np.take_along_axis(q, kept.indices, axis=1)
    log_q = np.log(np.concatenate([q_kept, 1 - q_kept.sum(axis=1, keepdims=True)], axis=1))
    np.testing.assert_allclose(
        F.soft_target(kept, s, 3.0), 9 * (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
    )


def lopsided(rows=50, classes=400):
    """Logits with a long tail on the left, as nets have them."""
    rng = np.random.default_rng(3)
    return 2 * (rng.normal(size=(rows, classes)) - rng.exponential(1.5, size=(rows, classes)))


def with_masses(t, k):
    kept = topk(t, k)
    out = np.ones(t.shape, bool)
    np.put_along_axis(out, kept.indices, False, axis=-1)
    rest = t[out].reshape(len(t), -1)
    known = [np.log(np.exp(rest / temperature).mean(-1)) for temperature in (1, 4)]
    return kept._replace(rest_log_mean_exp=np.stack(known, axis=-1))


@pytest.mark.parametrize(
    ("temperature", "error"),
    [(0.5, 0.1), (1, 1e-9), (1.5, 0.05), (2, 0.05), (3, 0.01), (4, 1e-9), (8, 1e-3), (20, 1e-4)],
)
def test_known_masses_make_the_rest_exact_at_1_and_4_and_close_elsewhere(temperature, error):
    t = lopsided()
    kept = with_masses(t, 10)
    p = softmax(t / temperature)
    exact = 1 - np.take_along_axis(p, kept.indices, axis=1).sum(axis=1)
    ours, plain = (
        np.abs(np.exp(F.topk_log_probabilities(k, 400, temperature))[:, -1] - exact)
        for k in (kept, kept._replace(rest_log_mean_exp=None))
    )
    assert ours.mean() < error
    assert ours.mean() < plain.mean() / 3


def test_known_masses_hold_the_expansion_between_what_is_possible():
    """Two far-apart groups of logits, for which the expansion alone is wild."""
    rng = np.random.default_rng(0)
    t = np.where(rng.random((50, 1000)) < 0.05, 5.0, -8.0) + rng.normal(size=(50, 1000))
    kept = with_masses(t, 20)
    for temperature in (0.05, 0.2, 0.5, 0.8, 1.2, 2.0, 3.0, 6.0, 50.0):
        loss = F.soft_target(kept, t, temperature).numpy() / temperature**2
        plain = F.soft_target(kept._replace(rest_log_mean_exp=None), t, temperature).numpy()
        assert loss.mean() < 0.05
        assert loss.mean() < plain.mean() / temperature**2 + 1e-9


def test_known_masses_change_no_student_that_is_the_teacher():
    t = lopsided()
    kept = with_masses(t, 10)
    for temperature in (1.0, 4.0):
        np.testing.assert_allclose(F.soft_target(kept, t, temperature), 0, atol=1e-9)
        np.testing.assert_allclose(gradient(kept, t, temperature), 0, atol=1e-9)


def test_known_masses_in_float16_and_with_a_scheduled_temperature():
    t = lopsided()
    kept = with_masses(t, 10)
    half = TopK(kept.indices.astype(np.uint16), *(p.astype(np.float16) for p in kept[1:]))
    for temperature in (0.5, 1.0, 2.0, 4.0, 20.0):
        whole = F.topk_log_probabilities(kept, 400, temperature)
        scheduled = tf.constant(temperature, tf.float32)
        np.testing.assert_allclose(
            np.exp(F.topk_log_probabilities(half, 400, scheduled)), np.exp(whole), atol=0.02
        )
