"""The model itself is measured on the given rows before anything is converted."""

import json
import shlex

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill import InputError, KerasDistillWarning
from keras_distill.cli import main

layers = keras.layers
RANDOM = np.random.default_rng(0)
# Each class is a bright row of the image.
LABELS = np.arange(120) % 4
PIXELS = RANDOM.integers(0, 100, (120, 4, 4, 1))
PIXELS[np.arange(120), LABELS] += 155
PIXELS = PIXELS.astype(np.uint8)


def _model(high, name="rows"):
    """Always right on pixels scaled to 0..high; elsewhere its answer is constant."""
    image = keras.Input((4, 4, 1), name="image")
    x = layers.Rescaling(1 / high)(image)
    x = layers.Dense(1, use_bias=False, activation="tanh", name="mean")(layers.Reshape((4, 4))(x))
    model = keras.Model(image, layers.Dense(4, name="logits")(layers.Flatten()(x)), name=name)
    model.get_layer("mean").set_weights([np.full((4, 1), 1 / 4)])
    model.get_layer("logits").set_weights([np.eye(4), np.array([0.01, 0, 0, 0])])
    return model


@pytest.mark.parametrize(
    ("high", "given", "words"),
    [
        (1, PIXELS, r"as given \(0..254\), and 100.00% on x / 255 .*Rescaling\(1 / 255\)"),
        (255, PIXELS / 255.0, r"on x \* 255 .*Rescaling\(255\)"),
        (1, PIXELS.astype("float32") * 8, r"on x / 20\d\d .*Rescaling\(1 / 20\d\d\)"),
    ],
)
def test_rows_of_another_range_are_refused_before_the_conversion(tmp_path, high, given, words):
    with pytest.raises(InputError, match=words) as told:
        kd.export_tflite(_model(high), tmp_path / "net.tflite", data=(given, LABELS))
    assert "25.00% accuracy" in str(told.value) and len(str(told.value)) < 480
    assert list(tmp_path.iterdir()) == []


def test_only_labeled_rows_are_measured(tmp_path):
    labels = np.where(np.arange(120) < 60, -1, LABELS)
    with pytest.raises(InputError, match=r"100.00% on x / 255 \(60 rows, input 'image'\)"):
        kd.export_tflite(_model(1), tmp_path / "net.tflite", data=(PIXELS, labels))


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """A data spec of the rows, in a folder whose name a shell would split."""
    path = tmp_path_factory.mktemp("two words") / "rows.npz"
    arrays = {}
    for split in ("train", "val", "test"):
        arrays |= {f"x_{split}": PIXELS, f"y_{split}": LABELS}
    np.savez(path, **arrays)
    return f"npz:{path}"


def test_the_accuracy_of_the_model_comes_first(tmp_path, spec, capsys):
    _model(255).save(tmp_path / "net.keras")
    argv = ["export", str(tmp_path / "net.keras"), "-o", str(tmp_path / "net.tflite")]
    assert main([*argv, "--data", spec]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"the Keras model: 100.00% accuracy on 120 rows ({spec}, validation)"
    assert lines[-2] == (
        f"Verified on 120 rows ({spec}, validation); a loss of up to 1 points is allowed."
    )
    assert lines[-1].startswith("Next: keras-distill benchmark ")


def test_a_model_near_chance_is_reported(tmp_path, spec, capsys):
    random = PIXELS[RANDOM.permutation(120)]
    with pytest.warns(KerasDistillWarning, match="no better than always answering one class"):
        record = kd.export_tflite(
            _model(255), tmp_path / "net.tflite", data=(random, LABELS), max_drop=100
        )
    assert "the Keras model has" in record.warnings[0]
    assert record.verification.verdict == "passed"


def test_without_data_the_last_line_says_so(tmp_path, capsys):
    _model(255).save(tmp_path / "net.keras")
    argv = ["export", str(tmp_path / "net.keras"), "-o", str(tmp_path / "net.tflite")]
    assert main(argv) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Not verified on your data: give --data SPEC (in Python, data=)."
    assert main([*argv, "--json", "--overwrite"]) == 0
    found = json.loads(capsys.readouterr().out)["verification"]
    assert found["verdict"] == "not verified on data" and found["source"] == "random"
    assert "passed" not in found
    record = kd.ExportRecord.load(tmp_path / "net.tflite.json")
    assert not record.verification.passed
    assert "not verified on your data" in repr(record) and "net.tflite, float32" in repr(record)


def test_the_next_command_can_be_pasted(tmp_path, spec, capsys, monkeypatch):
    """A failed int8 file leads to quantization-aware training, with the user's own paths."""
    folder = tmp_path / "it's mine"
    folder.mkdir()
    _model(255).save(folder / "net.keras")
    argv = [
        "export",
        str(folder / "net.keras"),
        "-o",
        str(folder / "net.tflite"),
        "--quantization",
        "int8",
    ]
    assert main([*argv, "--calibration", spec, "--limit", "1e-9"]) == 1
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1 and "fails verification" in shown.err
    words = shlex.split(shown.out.splitlines()[-1])
    assert words[:3] == ["Next:", "keras-distill", "compress"]
    assert words[3] == str(folder / "net.keras") and spec in words
    assert words[words.index("-o") + 1] == str(folder / "net-quantized")
    # Every word is accepted: only the error made here is found.
    assert main([*words[2:], "--steps", "melt"]) == 2
    assert "`steps` must be prune" in capsys.readouterr().err
