"""`verify_tflite` and `keras-distill verify`: any file against any other."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_distill import InputError, verify_tflite
from keras_distill.cli import main
from keras_distill.records import VerifyRecord

FILES = Path(__file__).parents[1] / "golden/tflite"
FLOAT, INT8 = FILES / "float.tflite", FILES / "int8.tflite"
WEIGHTS = np.array([[1, 0, -1, 2], [0, 1, 1, -1], [2, -2, 0, 1]], np.float32)
BIAS = np.array([0.5, -0.5, 0.0], np.float32)
RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (200, 4)).astype(np.float32)
Y = (X @ WEIGHTS.T + BIAS).argmax(-1)  # what the files were made to answer


def _keras(path, weights=WEIGHTS, name="logits", units=4):
    model = keras.Sequential(
        [keras.Input((units,), name="any"), keras.layers.Dense(3, name=name)], name="twin"
    )
    model.set_weights([weights.T, BIAS])
    model.save(path)
    return path


def test_an_int8_file_against_its_float_twin():
    record = verify_tflite(INT8, FLOAT, (X, Y), max_drop=5)
    verification, output = record.verification, record.verification.outputs[0]
    assert verification.verdict == "passed" and verification.failures == ()
    assert (verification.reference, verification.samples) == (str(FLOAT), 200)
    assert output.accuracy_reference == 1.0 and 0.95 <= output.accuracy <= 1
    assert output.limit is None and 0 < output.relative_difference < 0.1
    assert output.agreement == output.accuracy
    assert record.file.bytes == INT8.stat().st_size and len(record.against.sha256) == 64


def test_a_file_against_a_keras_model_with_other_names(tmp_path):
    record = verify_tflite(FLOAT, _keras(tmp_path / "net.keras", name="scores"), (X, Y))
    assert record.verification.verdict == "passed"
    assert record.verification.outputs[0].name == "scores"
    assert record.verification.outputs[0].max_difference < 1e-5


def test_the_accuracy_decides_and_not_the_scale_of_the_outputs(tmp_path):
    """The reference has twice the logits: far in values, and the same answers."""
    double = _keras(tmp_path / "double.keras", 2 * WEIGHTS)
    labels = (X @ (2 * WEIGHTS.T) + BIAS).argmax(-1)
    record = verify_tflite(FLOAT, double, (X, labels), max_drop=30)
    assert record.verification.passed and record.verification.outputs[0].relative_difference > 0.2
    limited = verify_tflite(FLOAT, double, (X, labels), max_drop=30, limit=0.01)
    assert limited.verification.verdict == "failed"
    assert f"differs from {double} by up to" in limited.verification.failures[0]


def test_a_file_that_answers_something_else_fails(tmp_path):
    other = _keras(tmp_path / "other.keras", WEIGHTS[::-1])
    record = verify_tflite(other, FLOAT, (X, Y))
    drop = 100 * (1 - record.verification.outputs[0].accuracy)
    assert drop > 30 and record.verification.verdict == "failed"
    assert f"accuracy falls by {drop:.2f} points, from 100.00%" in record.verification.failures[0]
    assert "failed verification: accuracy falls" in repr(record)


def test_a_few_rows_do_not_verify_a_file_that_lost_one(tmp_path, capsys):
    other = _keras(tmp_path / "other.keras", WEIGHTS[::-1])
    right = (X @ WEIGHTS[::-1].T + BIAS).argmax(-1) == Y
    picks = [int(right.argmax()), int(right.argmin())]  # one row each that it gets right and wrong
    arrays = {}
    for split, rows in (("train", range(200)), ("val", picks), ("test", picks)):
        arrays |= {f"x_{split}": X[rows], f"y_{split}": Y[rows]}
    np.savez(tmp_path / "rows.npz", **arrays)
    argv = ["verify", str(other), "--against", str(FLOAT), "--data", f"npz:{tmp_path}/rows.npz"]
    out = tmp_path / "verified.json"
    assert main([*argv, "-o", str(out)]) == 1
    assert "too few examples to verify" in capsys.readouterr().err
    verification = VerifyRecord.load(out).verification
    assert (verification.samples, verification.needed) == (2, 100)


def test_data_of_another_range_are_refused(tmp_path):
    small = np.abs(X)
    labels = (small @ WEIGHTS.T + BIAS).argmax(-1)
    with pytest.raises(InputError, match=r"on x / 255 \(200 rows.*py:MODULE:FUNCTION"):
        verify_tflite(FLOAT, FLOAT, (small * 255, labels))


def test_without_class_labels_a_limit_decides():
    with pytest.raises(InputError, match=r"Accuracy cannot be measured.*--limit"):
        verify_tflite(INT8, FLOAT, X)
    record = verify_tflite(INT8, FLOAT, X, limit=0.2)
    assert record.verification.passed and record.verification.max_drop is None
    assert verify_tflite(INT8, FLOAT, X, limit=1e-6).verification.verdict == "failed"
    with pytest.raises(InputError, match="`max_drop` needs `data` with labels"):
        verify_tflite(INT8, FLOAT, X, limit=0.2, max_drop=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "wide.keras"}, r"wide.keras takes the input .*\(5,\), but .*float.tflite takes"),
        ({"data": (X[:, :2], Y)}, r"rows of shape \(4,\)"),
        ({"max_drop": 101}, "`max_drop` must be in 0..100"),
        ({"samples": 0}, "`samples` must be a whole number >= 1"),
        ({"limit": 0}, "`limit` must be > 0"),
        ({"split": "all"}, "`split` must be one of train, validation, test"),
        ({"path": "nowhere.tflite"}, "nowhere.tflite"),
        ({"path": "text.tflite"}, "text.tflite: not a .tflite file"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    _keras(Path("wide.keras"), np.ones((3, 5), np.float32), units=5)
    Path("text.tflite").write_text("a text that was renamed")
    given = {"path": INT8, "against": FLOAT, "data": (X, Y)} | options
    with pytest.raises(InputError, match=words):
        verify_tflite(**given)


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.npz"
    arrays = {}
    for split in ("train", "val", "test"):
        arrays |= {f"x_{split}": X, f"y_{split}": Y}
    np.savez(path, **arrays)
    return f"npz:{path}"


def test_the_command_passes(spec, tmp_path, capsys):
    argv = ["verify", str(INT8), "--against", str(FLOAT), "--data", spec, "--max-drop", "5"]
    assert main([*argv, "-o", str(tmp_path / "v.json")]) == 0
    shown = capsys.readouterr()
    *_, verdict, following = shown.out.splitlines()
    assert verdict.startswith(f"Verified on 200 rows ({spec}, test): ") and shown.err == ""
    assert f"{FLOAT} 100.00%" in verdict
    assert following.startswith("Next: keras-distill device ")
    record = VerifyRecord.load(tmp_path / "v.json")
    assert main([*argv, "--json"]) == 0
    again = VerifyRecord.parse(json.loads(capsys.readouterr().out), source="stdout")
    assert again.verification == record.verification
    assert main([*argv, "-o", str(tmp_path / "v.json")]) == 2
    assert "v.json exists" in capsys.readouterr().err


def test_the_command_fails_with_exit_code_1_and_writes_the_record(spec, tmp_path, capsys):
    other, out = _keras(tmp_path / "other.keras", WEIGHTS[::-1]), tmp_path / "v.json"
    argv = ["verify", str(other), "--against", str(FLOAT), "--data", spec, "-o", str(out)]
    assert main(argv) == 1
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert f"{other} fails verification against {FLOAT}: accuracy falls by" in shown.err
    assert VerifyRecord.load(out).verification.verdict == "failed"
    assert main([*argv, "--overwrite", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verification"]["verdict"] == "failed"


def test_a_reference_near_chance_is_noted(spec, tmp_path, capsys):
    labels = RANDOM.permutation(Y)
    record = verify_tflite(FLOAT, FLOAT, (X, labels))
    assert record.verification.passed and "no better than always answering" in record.warnings[0]
