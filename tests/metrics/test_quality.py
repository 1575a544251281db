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


class TestOneUnit:
    """One logit z is two classes with the logits 0 and z; probabilities are recognized."""

    Z = 3 * RNG.normal(size=(200, 1))
    P = 1 / (1 + np.exp(-Z))
    Y = (Z[:, 0] + RNG.logistic(size=200) > 0).astype(int)
    TWO = np.concatenate([np.zeros_like(Z), Z], axis=1)

    @pytest.mark.parametrize("labels", ["ids", "column", "floats", "truth values"])
    @pytest.mark.parametrize("outputs", ["Z", "P"])
    def test_every_metric_is_that_of_two_logits(self, outputs, labels):
        y = {
            "ids": self.Y,
            "column": self.Y[:, None],
            "floats": self.Y.astype("float32"),
            "truth values": self.Y > 0,
        }[labels]
        for metric in (
            metrics.accuracy,
            metrics.negative_log_likelihood,
            metrics.expected_calibration_error,
            metrics.calibration_temperature,
        ):
            expected = metric(self.TWO, self.Y)
            assert metric(getattr(self, outputs), y) == pytest.approx(expected, rel=1e-4)
        assert metrics.top_k_accuracy(self.Z, y, k=2) == 1.0

    def test_agreement(self):
        assert metrics.agreement(self.P, 1 - self.P) == 0.0
        assert metrics.agreement(self.Z, -self.Z) == 0.0
        assert metrics.agreement(self.P, self.Z) == 1.0
        assert metrics.agreement(self.TWO, self.P) == 1.0
        assert metrics.agreement(-self.Z, self.TWO) == 0.0

    def test_masks(self):
        z, y = self.Z.reshape(8, 5, 5, 1), self.Y.reshape(8, 5, 5)
        expected = metrics.accuracy(self.Z, self.Y)
        assert metrics.accuracy(z, y) == metrics.accuracy(z, y[..., None]) == expected
        assert metrics.agreement(z, z) == 1.0

    def test_unlabeled_rows_and_other_values(self):
        y = np.where(np.arange(200) < 150, self.Y, -1)
        expected = metrics.accuracy(self.Z[:150], self.Y[:150])
        assert metrics.accuracy(self.Z, y) == expected
        for wrong in (self.Y + 1, self.Y * 0.5, 2 * self.Y - 1.0):
            with pytest.raises(InputError, match="`labels` must be 0 and 1 of shape"):
                metrics.accuracy(self.Z, wrong)

    def test_certain_probabilities_are_finite(self):
        p = np.array([[0.0], [1.0]], np.float32)
        assert np.isfinite(metrics.negative_log_likelihood(p, [1, 0]))
        assert metrics.negative_log_likelihood(p, [0, 1]) < 1e-6

    def test_small_logits_can_be_declared(self):
        z = np.array([[0.1], [0.4]])
        assert metrics.accuracy(z, [1, 1]) == 0.0  # taken for probabilities
        assert metrics.accuracy(z, [1, 1], from_probabilities=False) == 1.0


class TestSeveralLabels:
    Z = 2 * RNG.normal(size=(100, 5))
    Y = (Z + RNG.logistic(size=Z.shape) > 0).astype(int)

    def test_each_label_is_an_example_of_two_classes(self):
        p = 1 / (1 + np.exp(-self.Z))
        expected = np.mean((self.Z > 0) == self.Y)
        for outputs in (self.Z, p):
            for labels in (self.Y, self.Y.astype("float32")):
                assert metrics.accuracy(outputs, labels) == expected
        nll = -np.mean(np.where(self.Y, np.log(p), np.log(1 - p)))
        assert metrics.negative_log_likelihood(p, self.Y) == pytest.approx(nll)

    def test_agreement_needs_the_task(self):
        other = np.where(np.arange(5) == 0, -self.Z, self.Z)
        task = metrics.Task.MULTI_LABEL
        assert metrics.agreement(self.Z, other, task=task) == pytest.approx(0.8)
        assert metrics.agreement(self.Z, self.Z, task=task) == 1.0

    def test_one_hot_rows_are_classes(self):
        labels = np.eye(8)[LABELS]
        assert metrics.accuracy(LOGITS, labels) == metrics.accuracy(LOGITS, LABELS)
        by_label = metrics.accuracy(LOGITS, labels, task=metrics.Task.MULTI_LABEL)
        assert by_label == pytest.approx(((LOGITS > 0) == labels).mean())

    def test_a_regression_has_no_accuracy(self):
        with pytest.raises(InputError, match="`labels` must be class ids"):
            metrics.accuracy(self.Z, self.Z)
        with pytest.raises(InputError, match="Received: a regression"):
            metrics.agreement(self.Z, self.Z, task=metrics.Task.REGRESSION)


def test_declared_probabilities_of_classes():
    p = softmax(LOGITS, axis=1)
    expected = metrics.negative_log_likelihood(LOGITS, LABELS)
    found = metrics.negative_log_likelihood(p, LABELS, from_probabilities=True)
    assert found == pytest.approx(expected)


def test_class_ids_and_one_hot_rows():
    ids, outputs = np.array([1, 0]), np.zeros((2, 2))
    for labels in (ids, ids[:, None], np.eye(2)[ids], ids.tolist(), [[0.1, 0.9], [0.8, 0.2]]):
        found = metrics.label_ids(labels, outputs, metrics.Task.CLASSES)
        np.testing.assert_array_equal(found, ids)
    for wrong, received in ((np.array([1, 0, 1]), "int64"), (np.array([0.5, 0.2]), "float64")):
        with pytest.raises(InputError, match=rf"or one-hot rows, .* Received: {received} of"):
            metrics.label_ids(wrong, outputs, metrics.Task.CLASSES)


def test_the_best_model_that_ignores_its_input():
    labels = np.array([[1, 0], [1, 0], [1, 0], [1, 1], [-1, 0]])
    truth = metrics.Truth("accuracy", metrics.Task.MULTI_LABEL, labels)
    assert truth.constant() == (4 + 4) / 9  # 1 for the first label, 0 for the second
    ids = metrics.Truth("accuracy", metrics.Task.CLASSES, np.array([0, 2, 2, -1]))
    assert ids.constant() == 2 / 3
