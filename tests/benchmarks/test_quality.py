import numpy as np
import pytest

from keras_distill._internal import InputError
from keras_distill.benchmarks import measure_quality
from keras_distill.metrics import as_logits

LOGITS = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0], [1.0, 0.0, 0.0]])
LABELS = np.array([0, 1, 2, 1])


def _softmax(z):
    e = np.exp(z)
    return e / e.sum(-1, keepdims=True)


def test_known_values():
    found = measure_quality(LOGITS, LABELS, reference=LOGITS[[0, 1, 2, 1]])
    assert found.samples == 4 and found.accuracy == 0.75 and found.agreement == 0.75
    assert found.top5 is None  # of three classes
    p = _softmax(LOGITS)[np.arange(4), LABELS]
    assert found.negative_log_likelihood == pytest.approx(-np.log(p).mean())
    assert 0 < found.expected_calibration_error < 1


def test_top_5():
    logits = np.tile(np.arange(8.0), (8, 1))  # class 7 first, then 6, …
    assert measure_quality(logits, np.arange(8)).top5 == 5 / 8


def test_probabilities_give_what_their_logits_give():
    a, b = measure_quality(LOGITS, LABELS), measure_quality(_softmax(LOGITS), LABELS)
    assert a.negative_log_likelihood == pytest.approx(b.negative_log_likelihood)
    assert a.expected_calibration_error == pytest.approx(b.expected_calibration_error)
    assert a.accuracy == b.accuracy


def test_quantized_probabilities_are_known_as_such():
    q = np.round(_softmax(LOGITS) * 256) / 256
    assert measure_quality(q, LABELS).negative_log_likelihood == pytest.approx(
        measure_quality(LOGITS, LABELS).negative_log_likelihood, abs=0.01
    )
    certain = as_logits(np.array([[1.0, 0.0]]))
    assert np.isfinite(certain).all() and certain[0, 0] == 0


def test_probabilities_of_many_classes_may_all_be_rounded_to_0():
    outputs = np.zeros((2, 1000))
    assert (as_logits(outputs) == 0).all()
    assert as_logits(outputs, from_probabilities=True)[0, 0] == pytest.approx(-126 * np.log(2))


def test_positive_logits_are_not_taken_for_probabilities():
    logits = np.array([[0.2, 0.9], [0.4, 0.6]])
    np.testing.assert_array_equal(as_logits(logits), logits)


def test_one_hot_labels_and_shapes_that_do_not_fit():
    assert measure_quality(LOGITS, np.eye(3)[LABELS]) == measure_quality(LOGITS, LABELS)
    with pytest.raises(InputError, match="class ids"):
        measure_quality(LOGITS, LABELS[:2])


def test_two_classes_in_one_unit():
    z = np.array([[2.0], [-1.0], [0.5], [-3.0]])
    ids = np.array([1, 0, 0, 0])
    two = measure_quality(np.concatenate([0 * z, z], axis=1), ids)
    for outputs in (z, 1 / (1 + np.exp(-z))):
        for labels in (ids, ids[:, None], ids.astype("float32")):
            found = measure_quality(outputs, labels, reference=-z)
            assert found.accuracy == two.accuracy == 0.75 and found.agreement == 0.0
            assert found.top5 is None
            for name in ("negative_log_likelihood", "expected_calibration_error"):
                assert getattr(found, name) == pytest.approx(getattr(two, name))


def test_several_labels_and_quantized_sigmoids():
    z = np.random.default_rng(0).normal(size=(20, 6))
    labels = (z > 0.3).astype(int)
    p = np.round(256 / (1 + np.exp(-z))) / 256
    found = measure_quality(p, labels, reference=z, from_probabilities=True, step=1 / 256)
    assert found.accuracy == pytest.approx(((z > 0) == labels).mean(), abs=0.01)
    assert found.agreement == pytest.approx(1.0, abs=0.01)
    assert (found.metric, found.worst_class.samples) == ("accuracy", 20)


def test_values_and_anomalies_have_their_own_metric():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(50, 2))
    found = measure_quality(y + 0.1, y, reference=y)
    assert (found.metric, found.accuracy, found.agreement) == ("R2", None, None)
    assert found.measures["MAE"] == pytest.approx(0.1)
    assert found.score == pytest.approx(1 - 50 * 2 * 0.01 / ((y - y.mean(0)) ** 2).sum())
    x = rng.normal(size=(50, 8))
    labels = (np.arange(50) < 10).astype(int)
    rebuilt = x * np.where(labels, 0.2, 0.9)[:, None]
    found = measure_quality(rebuilt, labels, inputs=[x])
    assert found.metric == "AUC" and found.measures == {"AUC": found.score}
    assert found.score > 0.9 and found.expected_calibration_error is None
    with pytest.raises(InputError, match="labels do not fit the outputs"):
        measure_quality(y, np.full((50, 2), 3.0))
