from pathlib import Path

import keras
import numpy as np
import pytest

from keras_distill._internal import InputError, KerasDistillWarning
from keras_distill.benchmarks import benchmark, benchmark_markdown
from keras_distill.records import BenchmarkRecord

layers = keras.layers
FILES = Path(__file__).parents[1] / "golden/tflite"
WEIGHTS = np.array([[1, 0, -1, 2], [0, 1, 1, -1], [2, -2, 0, 1]], np.float32)
BIAS = np.array([0.5, -0.5, 0.0], np.float32)
RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (40, 4)).astype(np.float32)
Y = (X @ WEIGHTS.T + BIAS).argmax(-1)


def _keras_twin():
    """What the hand-made files compute, in Keras."""
    model = keras.Sequential([keras.Input((4,), name="any"), layers.Dense(3, name="logits")])
    model.set_weights([WEIGHTS.T, BIAS])
    return model


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "teacher.keras"
    _keras_twin().save(path)
    models = [path, FILES / "int8.tflite", FILES / "unsigned.tflite"]
    return benchmark(models, (X, Y), runs=4)


def test_entries(record):
    assert [(e.name, e.runtime, e.precision) for e in record.entries] == [
        ("teacher.keras", "keras", "float32"),
        ("teacher.keras as .tflite", "litert", "float32"),
        ("int8.tflite", "litert", "int8"),
        ("unsigned.tflite", "litert", "float32"),
    ]
    assert record.data == "data given" and record.split is None
    assert "cores" in record.machine


def test_size(record):
    assert {(e.size.parameters, e.size.multiply_adds) for e in record.entries} == {(15, 12)}
    converted = record.entry("teacher.keras as .tflite")
    assert converted.file is None and converted.size.bytes > 500
    assert record.entry("teacher.keras").size.bytes > converted.size.bytes
    assert record.entry("int8.tflite").file == str(FILES / "int8.tflite")


def test_quality(record):
    for entry in record.entries:
        assert entry.quality.samples == 40
        assert entry.quality.accuracy == pytest.approx(1.0, abs=0.1)
    assert record.entries[0].quality.agreement is None
    assert record.entries[1].quality.agreement == 1.0
    assert record.entries[0].quality.accuracy == 1.0


def test_record_round_trip(record, tmp_path):
    path = record.save(tmp_path / "benchmark.json")
    assert BenchmarkRecord.load(path) == record


def test_markdown(record):
    text = benchmark_markdown(record)
    assert "| 3 | int8.tflite | litert | int8 |" in text
    assert (
        "| 1 | accuracy | 100.00% | – | – | – | – |" in text
    )  # no top-5 of three classes, no agreement with itself
    for title in ("Models", "Size", "Quality", "Latency"):
        assert f"**{title}**" in text
    assert text.count("\n| 2 |") == 4
    assert "- Agreement is with teacher.keras." in text
    widths = {line.count("|") for line in text.split("**Size**")[1].split("**")[0].split("\n")[2:8]}
    assert len(widths) <= 2  # rows, and blank lines


def test_without_data(tmp_path):
    record = benchmark({"a": FILES / "float.tflite", "b": FILES / "float.tflite"}, runs=2)
    assert [e.name for e in record.entries] == ["a", "b"] and record.data is None
    assert all(e.quality is None for e in record.entries)
    assert "Quality" not in benchmark_markdown(record)


def test_third_party_uint8_takes_raw_pixels():
    pixels = RANDOM.integers(0, 20, (30, 4)).astype(np.uint8)
    labels = (pixels @ WEIGHTS.T + BIAS).argmax(-1)
    record = benchmark([FILES / "uint8.tflite"], (pixels, labels), runs=2)
    assert record.entries[0].quality.accuracy > 0.8


def test_third_party_int8_of_a_narrow_range_takes_pixels_less_128(monkeypatch):
    """int8.tflite spans -4..4: pixels 0..255 are given as -128..127."""
    pixels = RANDOM.integers(0, 256, (30, 4)).astype(np.uint8)
    real = (pixels.astype(float) - 128) / 32
    labels = np.clip(real @ WEIGHTS.T + BIAS, -16, 15.9).argmax(-1)
    record = benchmark([FILES / "int8.tflite"], (pixels, labels), runs=2)
    assert record.entries[0].quality.accuracy > 0.85
    assert "q = x - 128" in record.entries[0].notes[0]


def test_equal_names_are_told_apart():
    record = benchmark([FILES / "float.tflite"] * 2, runs=2)
    assert [e.name for e in record.entries] == ["float.tflite", "float.tflite (2)"]


@pytest.mark.parametrize(
    ("models", "settings", "words"),
    [
        ([], {}, "`models` must be a list of one or more"),
        ("net.tflite", {}, "`models` must be a list"),
        ([FILES / "flex.tflite"], {}, "does not know: FlexErf"),
        ([FILES / "variable.tflite"], {}, "unfrozen variables"),
        (["missing.tflite"], {}, "no such file"),
        ([FILES / "float.tflite"], {"data": X}, r"`data` must have labels: \(x, y\)"),
        ([FILES / "float.tflite"], {"data": (X[:, :3], Y)}, r"rows of shape \(4,\)"),
        ([FILES / "two.tflite"], {"data": ({"left": X, "right": X}, Y)}, "one output of"),
        (["missing.keras"], {"runs": 1}, "`runs` must be a whole number >= 2"),
        (["missing.keras"], {"threads": ()}, "`threads` must hold one or more counts"),
        ([FILES / "float.tflite"], {"split": "dev"}, "`split` must be one of"),
    ],
)
def test_bad_input(models, settings, words):
    with pytest.raises(InputError, match=words):
        benchmark(models, **settings)


@pytest.mark.parametrize("data", [None, (X, Y)])
def test_models_of_different_inputs_are_named(data):
    wide = keras.Sequential([keras.Input((5,)), layers.Dense(3)], name="wide")
    words = r"wide takes the input .* of shape \(5,\), but float.tflite, the first model, takes"
    with pytest.raises(InputError, match=words):
        benchmark([FILES / "float.tflite", wide], data, runs=2)
    with pytest.raises(InputError, match=r"two.tflite takes the inputs 'left' .*, but float"):
        benchmark([FILES / "float.tflite", FILES / "two.tflite"], data, runs=2)


def test_a_model_that_cannot_be_converted_is_measured_in_keras():
    model = keras.Sequential([keras.Input((4, 4)), Determinant(), layers.Dense(2)])
    with pytest.warns(KerasDistillWarning, match="no float32 .tflite"):
        record = benchmark([model], runs=2, in_keras=False)
    assert [e.runtime for e in record.entries] == ["keras"]
    assert "TFLite has no builtin for" in record.entries[0].notes[0]
    assert record.entries[0].size.bytes is None and record.entries[0].size.multiply_adds is None


class Determinant(layers.Layer):
    def call(self, x):
        return keras.ops.reshape(keras.ops.linalg.det(x), (-1, 1))
