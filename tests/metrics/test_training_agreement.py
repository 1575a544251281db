"""Agreement during training: weights, masks, top-k teachers, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import Agreement, TopK, metrics

RNG = np.random.default_rng(0)
T = RNG.normal(size=(40, 4)).astype("float32")
S = (T + RNG.normal(size=T.shape)).astype("float32")
SAME = T.argmax(1) == S.argmax(1)


def result(*batches):
    metric = Agreement()
    for args, kwargs in batches:
        metric.update_state(*args, **kwargs)
    return float(metric.result())


def test_running_over_batches_of_any_size():
    value = result(((T[:30], S[:30]), {}), ((T[30:], S[30:]), {}))
    assert value == pytest.approx(metrics.agreement(T, S))
    assert 0.2 < value < 0.9


def test_weights():
    weight = RNG.uniform(size=40)
    expected = (SAME * weight).sum() / weight.sum()
    assert result(((T, S, weight), {})) == pytest.approx(expected, rel=1e-5)
    assert result(((T, S, weight[:, None]), {})) == pytest.approx(expected, rel=1e-5)


def test_what_the_mask_leaves_out_does_not_count():
    mask = np.arange(40) < 10
    assert result(((T, S), {"mask": mask})) == pytest.approx(SAME[:10].mean())
    both = result(((T, S, np.where(SAME, 1.0, 3.0)), {"mask": mask}))
    weight = np.where(SAME, 1.0, 3.0)[:10]
    assert both == pytest.approx((SAME[:10] * weight).sum() / weight.sum(), rel=1e-5)
    assert result(((T, S), {"mask": np.zeros(40, bool)})) == 0.0


def test_sequences():
    t, s, same = T.reshape(8, 5, 4), S.reshape(8, 5, 4), SAME.reshape(8, 5)
    mask = np.arange(5)[None, :] < np.arange(1, 9)[:, None]
    assert result(((t, s), {})) == pytest.approx(SAME.mean())
    assert result(((t, s), {"mask": mask})) == pytest.approx(same[mask].mean(), rel=1e-5)
    weight = np.arange(8.0)
    expected = (same.mean(axis=1) * weight).sum() / weight.sum()
    assert result(((t, s, weight), {})) == pytest.approx(expected, rel=1e-5)
    by_row = np.arange(8) < 3
    assert result(((t, s), {"mask": by_row})) == pytest.approx(same[:3].mean(), rel=1e-5)


def test_one_logit_is_two_classes():
    z, other = T[:, :1], S[:, :1]
    expected = metrics.agreement(z, other, from_probabilities=False)
    assert result(((z, other), {})) == pytest.approx(expected)
    assert result(((z, -z), {})) == 0.0
    assert result(((z.reshape(8, 5, 1), z.reshape(8, 5, 1)), {})) == 1.0


@pytest.mark.parametrize("lead", [(40,), (8, 5)])
def test_topk_teacher(lead):
    top = tf.math.top_k(T.reshape(*lead, 4), 2)
    topk = TopK(top.indices[..., ::-1], top.values[..., ::-1], tf.zeros(lead), tf.zeros(lead))
    assert result(((topk, S.reshape(*lead, 4)), {})) == pytest.approx(SAME.mean())


def test_in_a_graph_with_unknown_batch():
    metric = Agreement()
    update = tf.function(metric.update_state)
    for rows in (40, 7):
        update(tf.constant(T[:rows]), tf.constant(S[:rows]), mask=tf.ones(rows, tf.bool))
    assert float(metric.result()) == pytest.approx(np.r_[SAME, SAME[:7]].mean(), rel=1e-5)


def test_reset_and_serialization():
    metric = Agreement(name="fidelity")
    metric.update_state(T, S)
    metric.reset_state()
    assert float(metric.result()) == 0.0
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert isinstance(again, Agreement) and again.name == "fidelity"
