"""Quality of logits: by hand, against scikit-learn and SciPy, ties, small N, bad input."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss, top_k_accuracy_score

from keras_distill import InputError, metrics

RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(200, 8))
LABELS = RNG.integers(0, 8, 200)


def test_accuracy_and_top_k_against_scikit_learn():
    for k in (1, 2, 5):
        expected = top_k_accuracy_score(LABELS, LOGITS, k=k)
        assert metrics.top_k_accuracy(LOGITS, LABELS, k) == pytest.approx(expected)
    assert metrics.accuracy(LOGITS, LABELS) == np.mean(LOGITS.argmax(1) == LABELS)


def test_top_five_of_fewer_than_five_classes():
    assert metrics.top_k_accuracy(LOGITS[:, :3], LABELS % 3) == 1.0
    assert metrics.top_k_accuracy(LOGITS[:, :5], LABELS % 5) == 1.0
    assert metrics.top_k_accuracy(LOGITS[:, :6], LABELS % 6) < 1.0


def test_ties_go_to_the_first_class_as_in_argmax():
    assert metrics.accuracy([[1.0, 1.0]] * 2, [0, 1]) == 0.5
    assert metrics.top_k_accuracy(np.zeros((3, 3)), [0, 1, 2], k=2) == pytest.approx(2 / 3)


def test_agreement():
    other = LOGITS + RNG.normal(size=LOGITS.shape)
    expected = np.mean(LOGITS.argmax(1) == other.argmax(1))
    assert metrics.agreement(LOGITS, other) == expected
    assert metrics.agreement(LOGITS, 7 * LOGITS - 3) == 1.0


def test_negative_log_likelihood_against_scikit_learn():
    expected = log_loss(LABELS, softmax(LOGITS, axis=1), labels=range(8))
    assert metrics.negative_log_likelihood(LOGITS, LABELS) == pytest.approx(expected)


def test_negative_log_likelihood_of_extreme_logits():
    assert metrics.negative_log_likelihood([[1e4, -1e4]], [1]) == 2e4
    assert metrics.negative_log_likelihood(np.array([[60.0, 0.0]], np.float16), [1]) == 60.0


class TestCalibration:
    def test_against_the_formula_bin_by_bin(self):
        confidence = softmax(LOGITS, axis=1).max(axis=1)
        right = LOGITS.argmax(1) == LABELS
        for bins in (1, 10, 15):
            total = 0
            for m in range(1, bins + 1):
                members = (confidence > (m - 1) / bins) & (confidence <= m / bins)
                if members.any():
                    gap = abs(right[members].mean() - confidence[members].mean())
                    total += members.mean() * gap
            ours = metrics.expected_calibration_error(LOGITS, LABELS, bins)
            assert ours == pytest.approx(total)

    def test_labels_drawn_from_the_probabilities_are_calibrated(self):
        logits = 2 * RNG.normal(size=(20_000, 3))
        noise = RNG.gumbel(size=logits.shape)
        assert metrics.expected_calibration_error(logits, (logits + noise).argmax(1)) < 0.02
        assert metrics.expected_calibration_error(4 * logits, (logits + noise).argmax(1)) > 0.1

    def test_certain_and_wrong(self):
        assert metrics.expected_calibration_error([[1e4, 0.0]] * 3, [1, 1, 1]) == 1.0
        assert metrics.expected_calibration_error([[1e4, 0.0]] * 3, [0, 0, 0]) == 0.0


class TestCalibrationTemperature:
    @pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
    def test_finds_what_the_logits_were_divided_by(self, temperature):
        logits = 2 * RNG.normal(size=(20_000, 3))
        labels = (logits + RNG.gumbel(size=logits.shape)).argmax(1)
        found = metrics.calibration_temperature(logits * temperature, labels)
        assert found == pytest.approx(temperature, rel=0.05)

    def test_is_the_best_of_a_grid(self):
        found = metrics.calibration_temperature(LOGITS, LABELS)
        best = metrics.negative_log_likelihood(LOGITS / found, LABELS)
        for temperature in np.geomspace(0.01, 100, 200):
            other = metrics.negative_log_likelihood(LOGITS / temperature, LABELS)
            assert best <= other + 1e-9


@pytest.mark.parametrize(
    "metric",
    [
        metrics.accuracy,
        metrics.top_k_accuracy,
        metrics.negative_log_likelihood,
        metrics.expected_calibration_error,
        metrics.calibration_temperature,
    ],
)
class TestInput:
    def test_leading_axes_count_alike(self, metric):
        flat = metric(LOGITS, LABELS)
        assert metric(LOGITS.reshape(10, 20, 8), LABELS.reshape(10, 20)) == flat

    def test_unlabeled_is_left_out(self, metric):
        labels = np.where(np.arange(200) < 150, LABELS, -1)
        assert metric(LOGITS, labels) == metric(LOGITS[:150], LABELS[:150])

    @pytest.mark.parametrize(
        ("logits", "labels", "message"),
        [
            (LOGITS, LABELS[:-1], r"`labels` must be class ids of shape \(200,\)"),
            (LOGITS, LABELS.astype(float), "`labels` must be class ids"),
            (LOGITS, LABELS + 5, r"`labels` must be in 0..7. Received: 5..12"),
            (LOGITS, LABELS - 5, r"`labels` must be in 0..7"),
            (LOGITS[:0], LABELS[:0], "at least one labeled example"),
            (np.where(LOGITS > 5, np.nan, LOGITS), LABELS, "`logits` must not contain NaN"),
            (3.0, 0, r"`logits` must be \(..., N\)"),
        ],
    )
    def test_bad_input(self, metric, logits, labels, message):
        with pytest.raises(InputError, match=message):
            metric(logits, labels)


def test_log_softmax_is_in_float64():
    logits = LOGITS.astype(np.float32)
    exact = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(200), LABELS].mean()
    assert metrics.negative_log_likelihood(logits, LABELS) == pytest.approx(exact, rel=1e-12)


def test_agreement_refuses_other_shapes():
    with pytest.raises(InputError, match="must have the same shape"):
        metrics.agreement(LOGITS, LOGITS[:, :4])


@pytest.mark.parametrize(("name", "k"), [("k", 0), ("k", 1.5)])
def test_k_is_a_count(name, k):
    with pytest.raises(InputError, match=f"`{name}` must be a whole number"):
        metrics.top_k_accuracy(LOGITS, LABELS, k)


def test_needs_no_tensorflow():
    code = "import sys, keras_distill.metrics; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
