"""Reverse KL and the Jensen-Shannon divergence: identities, limits, bounds, top-k teachers."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import InputError, JensenShannonLoss, ReverseKLLoss, TopK
from keras_distill.losses import functional as F

RNG = np.random.default_rng(5)
T, S = (tf.constant(3 * RNG.normal(size=(4, 6))) for _ in range(2))
BOTH = [F.reverse_kl, F.jensen_shannon]
each = pytest.mark.parametrize("function", BOTH, ids=lambda f: f.__name__)


def gradient(function, student):
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = tf.reduce_sum(function(student))
    return tape.gradient(value, student).numpy()


def kept(t, k):
    """A `TopK` of dense logits, with the mass of the rest exact at T = 1 and T = 4."""
    t = np.asarray(t)
    order = np.argsort(-t, axis=-1)
    rest = np.take_along_axis(t, order[:, k:], axis=-1)
    masses = np.stack([np.log(np.exp(rest / x).mean(-1)) for x in (1, 4)], axis=-1)
    logits = np.take_along_axis(t, order[:, :k], axis=-1)
    return TopK(order[:, :k], logits, rest.mean(-1), rest.var(-1), masses)


def test_reverse_kl_exchanges_the_sides():
    np.testing.assert_allclose(F.reverse_kl(T, S, 3.0), F.soft_target(S, T, 3.0), rtol=1e-12)


def test_jensen_shannon_is_symmetric_and_bounded():
    np.testing.assert_allclose(F.jensen_shannon(T, S, 3.0), F.jensen_shannon(S, T, 3.0), rtol=1e-12)
    apart = F.jensen_shannon([[1e4, 0.0]], [[0.0, 1e4]], 2.0)
    np.testing.assert_allclose(apart, [4 * math.log(2)], rtol=1e-6)


@pytest.mark.parametrize(("function", "share"), list(zip(BOTH, (1.0, 0.25), strict=True)))
def test_limit_as_the_temperature_grows(function, share):
    """T² keeps the gradient: it tends to `share` times that of logit matching."""
    t, s = (z - tf.reduce_mean(z, axis=-1, keepdims=True) for z in (T, S))
    exact = share * gradient(lambda z: F.logit_matching(t, z), s)
    gaps = [
        np.abs(gradient(lambda z, at=at: function(t, z, at), s) - exact).max()
        for at in (10.0, 100.0, 1000.0)
    ]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 5e-3 * np.abs(exact).max()


@each
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_topk_never_exceeds_dense_and_is_exact_with_all_classes(function, temperature):
    dense = function(T, S, temperature).numpy()
    some = function(kept(T, 3), S, temperature).numpy()
    assert (some <= dense * (1 + 1e-9)).all() and (some > 0).all()
    order = np.argsort(-T.numpy(), axis=-1)
    whole = TopK(order, np.take_along_axis(T.numpy(), order, -1), np.zeros(4), np.zeros(4))
    np.testing.assert_allclose(function(whole, S, temperature), dense, rtol=1e-9)
    np.testing.assert_allclose(function(kept(T, 3), T, temperature), 0, atol=1e-9)


def test_a_class_ruled_out_by_the_teacher():
    t = tf.constant([[1.0, 0.0, -np.inf]])
    value, g = F.jensen_shannon(t, S[:1, :3]), gradient(lambda s: F.jensen_shannon(t, s), S[:1, :3])
    assert np.isfinite(value).all() and np.isfinite(g).all()
    assert g[0, 2] > 0
    assert JensenShannonLoss.takes_ruled_out and not ReverseKLLoss.takes_ruled_out
    assert np.isinf(F.reverse_kl(t, S[:1, :3])).all()


@each
def test_shapes_that_do_not_fit(function):
    loss = {F.reverse_kl: ReverseKLLoss, F.jensen_shannon: JensenShannonLoss}[function]()
    with pytest.raises(InputError, match="same classes"):
        loss.validate_outputs(tf.zeros((2, 3)), tf.zeros((2, 4)))
    with pytest.raises(InputError, match="`temperature` must be > 0"):
        type(loss)(temperature=0.0)
