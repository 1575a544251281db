import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_distill import export
from keras_distill.cli import main
from keras_distill.records import ExportRecord, ExportSet

layers = keras.layers


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Rescaling(1 / 16, name="normalization"),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(10, name="logits"),
        ],
        name="net",
    )
    path = tmp_path_factory.mktemp("net") / "net.keras"
    model.save(path)
    return path


def test_int8_from_a_data_spec(net, tmp_path, capsys):
    out = tmp_path / "net.tflite"
    argv = ["export", str(net), "-o", str(out), "--quantization", "int8"]
    assert main([*argv, "--calibration", "digits", "--max-drop", "50", "--json"]) == 0
    shown = ExportRecord.parse(json.loads(capsys.readouterr().out), source="stdout")
    assert shown == ExportRecord.load(tmp_path / "net.tflite.json")
    assert shown.recipe.calibration.source == "digits, train"
    assert shown.recipe.calibration.samples == 200
    assert shown.verification.source == "digits, validation" and shown.verification.max_drop == 50
    assert shown.class_names == tuple("0123456789")


def test_a_flat_folder_of_images_calibrates_and_strict_refuses_other_files(net, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(30):
        pixels = np.random.default_rng(i).integers(0, 17, (8, 8)).astype(np.uint8)
        Image.fromarray(pixels).save(photos / f"{i:02}.png")
    (photos / "Thumbs.db").write_bytes(bytes(100))
    argv = ["export", str(net), "-o", str(tmp_path / "net.tflite"), "--quantization", "int8"]
    argv += ["--calibration", f"images:{photos}"]
    assert main([*argv, "--strict"]) == 2
    told = capsys.readouterr().err
    assert "not images (1 of 31 files): Thumbs.db. Remove them, or leave strict" in told
    assert main([*argv, "--json"]) == 0
    record = ExportRecord.parse(json.loads(capsys.readouterr().out), source="stdout")
    assert record.recipe.calibration.samples == 22 and record.class_names == ()
    assert any("skipped, not images (1 of 31 files): Thumbs.db" in w for w in record.warnings)
    assert main(["export", str(net), "-o", str(tmp_path / "b.tflite"), "--data", "digits",
                 "--strict"]) == 2  # fmt: skip
    assert "`--strict` is for images:DIR. Received: 'digits'" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["int32", "int64", "int16"])
def test_token_ids_from_an_archive_calibrate_an_embedding(tmp_path, capsys, dtype):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 50, (80, 6)).astype(dtype), np.arange(80) % 4
    np.savez(tmp_path / "tokens.npz", x_train=x, y_train=y)
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    hidden = layers.GlobalAveragePooling1D()(layers.Embedding(50, 8)(tokens))
    keras.Model(tokens, layers.Dense(4)(hidden), name="bag").save(tmp_path / "bag.keras")
    argv = [
        "export",
        str(tmp_path / "bag.keras"),
        "-o",
        str(tmp_path / "bag.tflite"),
        "--quantization",
        "int8",
    ]
    assert main([*argv, "--calibration", f"npz:{tmp_path / 'tokens.npz'}", "--json"]) == 0
    shown = ExportRecord.parse(json.loads(capsys.readouterr().out), source="stdout")
    assert shown.inputs[0].dtype == "int32"
    assert shown.recipe.calibration.ranges["tokens"] == (0, 49)


def test_a_model_of_text_is_refused_in_one_line(tmp_path, capsys):
    texts = np.array(["a good film", "a bad film"] * 10)
    np.savez(tmp_path / "texts.npz", x_train=texts, y_train=np.arange(20) % 2)
    vectorize = layers.TextVectorization(max_tokens=20, output_sequence_length=4)
    vectorize.adapt(texts)
    text = keras.Input((), dtype="string", name="text")
    hidden = layers.Flatten()(layers.Embedding(20, 3)(vectorize(text)))
    keras.Model(text, layers.Dense(2)(hidden), name="critic").save(tmp_path / "critic.keras")
    argv = ["export", str(tmp_path / "critic.keras"), "-o", str(tmp_path / "critic.tflite")]
    for more in ([], ["--data", f"npz:{tmp_path / 'texts.npz'}"]):
        assert main([*argv, *more]) == 2
        told = capsys.readouterr().err
        assert told.startswith("keras-distill: Model 'critic' takes text (input 'text'), which")
        assert "takes the token ids" in told and told.count("\n") == 1

    argv = ["benchmark", str(tmp_path / "critic.keras"), "--runs", "2"]
    assert main([*argv, "--data", f"npz:{tmp_path / 'texts.npz'}", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert entry["runtime"] == "keras" and entry["quality"]["samples"] == 4
    assert main(argv) == 2
    assert "takes text, and no random text is made. Give `data`" in capsys.readouterr().err


def test_a_failed_verification_is_exit_code_1_and_leaves_nothing(net, tmp_path, capsys):
    argv = [
        "export",
        str(net),
        "-o",
        str(tmp_path / "net.tflite"),
        "--quantization",
        "weight-only-int4",
    ]
    assert main([*argv, "--limit", "1e-6"]) == 1
    told = capsys.readouterr()
    assert told.err.startswith(
        "keras-distill: net.tflite fails verification: output 'logits' differs"
    )
    assert told.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def result_is(monkeypatch):
    """Has `export_all` return what a test says; returns the arguments it was given."""
    given = {}

    def stand_in(made=(), rejected=(), impossible=()):
        def export_all(model, folder, **options):
            given.update(options, folder=folder)
            verification = {
                "verdict": "passed",
                "failures": [],
                "reference": "Keras",
                "samples": 3,
                "source": "here",
                "max_drop": None,
            }
            output = {"name": "y", "max_difference": 0.1, "relative_difference": 0.02}
            verification["outputs"] = [output | {"noise": 0.1, "limit": 0.5, "agreement": 0.99}]
            record = {"file": "f.tflite", "bytes": 1234, "gzip_bytes": 1000, "sha256": "0" * 64}
            record |= {
                "ops": {},
                "inputs": [],
                "outputs": [],
                "verification": verification,
                "seconds": 1,
            }
            record |= {"versions": {}, "created": "now", "model": {"name": "net"}}
            recipe = {"io": "integer", "batch_size": 1, "sparse": False}
            exports = {name: record | {"recipe": recipe | {"quantization": name}} for name in made}
            return ExportSet(
                exports=exports,
                rejected=dict.fromkeys(rejected, "too far"),
                impossible=dict.fromkeys(impossible, "no kernel"),
            )

        monkeypatch.setattr(export, "export_all", export_all)
        return given

    return stand_in


@pytest.mark.parametrize(
    ("asked", "found", "code"),
    [
        ("all", {"made": ["float32"], "impossible": ["int8"]}, 0),
        ("float32,int8", {"made": ["float32"], "impossible": ["int8"]}, 2),
        ("float32,int8", {"made": ["float32", "int8"]}, 0),
        ("float32,int8", {"made": ["float32"], "rejected": ["int8"]}, 1),
        ("all", {"made": ["float32"], "rejected": ["int8"], "impossible": ["int16x8"]}, 1),
        ("all", {"impossible": ["int8"]}, 2),
    ],
)
def test_exit_code_of_several(net, tmp_path, capsys, result_is, asked, found, code):
    result_is(**found)
    argv = [
        "export",
        str(net),
        "-o",
        str(tmp_path),
        "--quantization",
        asked,
        "--calibration",
        "digits",
    ]
    assert main(argv) == code
    shown = capsys.readouterr().out
    for name in found.get("rejected", ()):
        assert f"{name} fails verification: too far." in shown
    for name in found.get("impossible", ()):
        assert f"{name} is not supported: no kernel." in shown
    if "made" in found:
        assert "1,234" in shown and "0.1 (2.00%)" in shown and "99.00%" in shown


def test_options_reach_the_exporter(net, tmp_path, result_is):
    given = result_is(made=["float32"])
    argv = [
        "export",
        str(net),
        "-o",
        str(tmp_path),
        "--quantization",
        "all",
        "--calibration",
        "digits",
    ]
    argv += ["--dynamic-batch", "--io", "float32", "--limit", "0.4", "--keep-failed"]
    assert main([*argv, "--timeout", "9", "--verification-samples", "7"]) == 0
    assert given["batch_size"] is None and given["io"] == "float32" and given["keep_failed"]
    assert given["timeout"] == 9 and given["verification_samples"] == 7
    assert given["data"] == given["calibration"] == "digits"
    assert given["limits"] == dict.fromkeys(export.QUANTIZATIONS, 0.4)
    assert given["stem"] == "net"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--quantization", "int9"], "`quantization` must be one of float32, float16"),
        (["--quantization", "int8"], "int8 needs `calibration` (--calibration)"),
        (
            ["--quantization", "float32,int8", "--calibration", "digits"],
            "must be a folder for several",
        ),
        (["--max-drop", "1"], "`max_drop` needs labeled rows: pass `data` (--data)"),
        (["--data", "nothing"], "nothing"),
        (["--batch-size", "0"], "`batch_size` must be a whole number >= 1"),
        (["--batch-size", "x"], "Invalid value for '--batch-size'"),
        (["--import", "no_such_module"], "no_such_module"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(net, tmp_path, capsys, argv, words):
    assert main(["export", str(net), "-o", str(tmp_path / "net.tflite"), *argv]) == 2
    told = capsys.readouterr()
    assert words in told.err and told.err.count("\n") == 1 and told.out == ""
    assert list(tmp_path.iterdir()) == []


def test_rows_of_another_shape(tmp_path, capsys):
    path = tmp_path / "net.keras"
    keras.Sequential([keras.Input((3,)), layers.Dense(2)]).save(path)
    argv = ["export", str(path), "-o", str(tmp_path / "net.tflite"), "--data", "digits"]
    assert main(argv) == 2
    assert "rows of shape (3,)" in capsys.readouterr().err
    assert np.array_equal([p.name for p in tmp_path.iterdir()], ["net.keras"])
