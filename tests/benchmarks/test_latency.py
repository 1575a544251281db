from pathlib import Path

import keras
import numpy as np
import pytest

from keras_distill._internal import InputError
from keras_distill.benchmarks import _latency, measure_latency, measure_size

FILES = Path(__file__).parents[1] / "golden/tflite"
X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def timed():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    models = {
        "keras": model,
        "first": FILES / "float.tflite",
        "second": FILES / "int8.tflite",
        "again": model,
    }
    return measure_latency(models, X, threads=(1, 2), runs=7, batch_size=4)


def test_each_model_at_each_number_of_threads(timed):
    assert list(timed) == ["keras", "first", "second", "again"]
    assert [r.threads for r in timed["first"].records] == [1, 2]
    assert len(timed["keras"].records) == 1  # TensorFlow has its own threads
    assert all(r.runs == 7 for timing in timed.values() for r in timing.records)


def test_figures_are_of_one_kind(timed):
    for timing in timed.values():
        for r in timing.records:
            assert 0 < r.median_ms <= r.p90_ms <= r.p99_ms
            assert r.throughput > 0 and r.batched_throughput > 0 and r.batch_size == 4
    assert timed["first"].records[0].cold_start_ms > 0
    assert timed["keras"].records[0].cold_start_ms is None
    assert timed["keras"].peak_memory_bytes is None


def test_ratios_are_to_the_first_of_the_same_runtime(timed):
    assert timed["keras"].records[0].ratio is None
    assert timed["first"].records[0].ratio is None
    ratio = timed["second"].records[0].ratio
    assert ratio.reference == "first" and ratio.n == 7
    assert ratio.low <= ratio.value <= ratio.high
    medians = [timed[name].records[0].median_ms for name in ("second", "first")]
    assert ratio.value == pytest.approx(medians[0] / medians[1])
    assert timed["again"].records[0].ratio.reference == "keras"


def test_a_single_input_may_have_any_name():
    found = measure_latency({"file": FILES / "float.tflite"}, {"pixels": X}, runs=2, batch_size=1)
    assert found["file"].records[0].median_ms > 0


def test_models_take_turns():
    calls = []

    class Subject:
        def __init__(self, name):
            self.name = name

        def time_call(self, count=1):
            calls.append((self.name, count))
            return [1.0] * count

    found = _latency._rounds({"a": Subject("a"), "b": Subject("b")}, runs=3)
    assert calls[2:] == [("a", 1), ("b", 1)] * 3  # after the warm-up of each
    assert found == {"a": [1.0] * 3, "b": [1.0] * 3}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"runs": 1}, "`runs` must be a whole number >= 2"),
        ({"threads": (0,)}, "`threads` must be a whole number >= 1"),
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"batch_size": 10**9}, "`batch_size` must be <= 65536"),
        ({"threads": (10**9,)}, "`threads` must be <= 1024"),
        ({"runs": 10**9}, "`runs` must be <= 1000000"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(InputError, match=words):
        measure_latency({"a": FILES / "float.tflite"}, X, **settings)


def test_a_batch_of_large_rows_is_refused():
    with pytest.raises(InputError, match="`batch_size` must be <= 256 for examples of 4194304"):
        measure_latency({"a": FILES / "float.tflite"}, np.zeros((1, 1 << 20), "f4"), batch_size=257)


def test_size():
    path = FILES / "float.tflite"
    size = measure_size(path)
    assert (size.parameters, size.multiply_adds) == (15, 12)
    assert size.bytes == path.stat().st_size and 0 < size.gzip_bytes < size.bytes
