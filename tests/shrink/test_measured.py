"""Budgets of bytes and latency: what they find is measured, not predicted."""

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill.shrink import Budget, _measured, analyze

L = keras.layers


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((32,)), L.Dense(256, "relu"), L.Dense(256, "relu"), L.Dense(10)], name="mlp"
    )


@pytest.mark.filterwarnings("ignore::keras_distill.KerasDistillWarning")
@pytest.mark.parametrize(("precision", "limit"), [("float32", 150_000), ("int8", 40_000)])
def test_the_file_of_the_result_keeps_to_the_bytes(model, precision, limit, tmp_path):
    records = []
    student = kd.shrink(model, budget=f"bytes={limit}:{precision}", report=records.append)
    file = tmp_path / "student.tflite"
    rows = np.random.default_rng(0).normal(size=(64, 32)).astype("float32")
    kd.export_tflite(student, file, quantization=precision, calibration=rows, data=rows)
    assert file.stat().st_size == records[0].measured
    assert 0.8 * limit <= file.stat().st_size <= limit


def test_a_file_that_cannot_be_so_small(model):
    with pytest.raises(kd.InputError, match=r"be >= bytes=\d+, the smallest that 'mlp' allows"):
        kd.shrink(model, budget="bytes=1k")


def _fake_latency(monkeypatch, ratio):
    """Replaces files and clock: `ratio(share of operations)` is what is measured."""
    measured = []

    def measure(self, keep):
        measured.append(ratio(self._share(keep)))
        return measured[-1]

    monkeypatch.setattr(_measured, "export_candidate", lambda *_: None)
    monkeypatch.setattr(_measured._Latency, "measure", measure)
    return measured


@pytest.mark.parametrize(
    "ratio",
    [lambda share: share, lambda share: 0.3 + 0.7 * share, lambda share: share**0.5],
    ids=["proportional", "constant part", "root"],
)
def test_latency_is_approached_from_few_measurements(model, ratio, monkeypatch):
    measured = _fake_latency(monkeypatch, ratio)
    analysis = analyze(model)
    score = np.random.default_rng(0).random(analysis.units)
    keep, value = _measured.measured_choice(
        model, analysis, score, Budget.parse("latency=0.5"), 1, {}
    )
    assert 0.4 <= value <= 0.5 and len(measured) <= 5
    assert keep.sum() < analysis.units


@pytest.mark.parametrize("limit", [3000, 5000, 9000, 40_000])
def test_a_small_budget_of_bytes_is_filled(model, limit, monkeypatch):
    # Scales and biases grow with the units, so the first prediction is far too low.
    measured = []

    def measure(self, keep):
        measured.append(self._costs.total(keep).parameters + 60 * keep.sum() - 1500)
        return float(measured[-1])

    monkeypatch.setattr(_measured._Bytes, "measure", measure)
    analysis = analyze(model)
    score = np.random.default_rng(0).random(analysis.units)
    budget = Budget.parse(f"bytes={limit}:int8")
    _, value = _measured.measured_choice(model, analysis, score, budget, 1, {})
    assert 0.95 * limit <= value <= limit and len(measured) <= 6


def test_a_latency_that_nothing_reaches(model, monkeypatch):
    _fake_latency(monkeypatch, lambda share: 0.9 + 0.1 * share)
    with pytest.raises(kd.InputError, match=r"be >= latency=0\.9"):
        kd.shrink(model, budget="latency=0.5")


@pytest.mark.slow
def test_latency_is_measured_against_the_model(model):
    records = []
    student = kd.shrink(model, budget="latency=0.95", report=records.append)
    assert 0 < records[0].measured <= 0.95
    assert student.count_params() < model.count_params()
