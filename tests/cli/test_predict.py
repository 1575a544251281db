"""`predict`: on files with a known answer for each image, and on rows of data."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

import keras_distill as kd
from keras_distill.cli import main
from keras_distill.litert import LiteRTModel, label_file

FILES = Path(__file__).parents[1] / "golden/tflite"
NAMES = ("red", "green", "blue")
COLORS = {"red": (250, 20, 10), "green": (0, 200, 40), "blue": (10, 60, 255)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`colors.tflite` says which color an image has; images of several sizes and formats."""
    folder = tmp_path_factory.mktemp("predict")
    inputs = keras.Input((4, 6, 3), name="photo")
    x = keras.layers.Rescaling(1 / 25)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Softmax()(x))
    x = np.random.default_rng(0).integers(0, 256, (40, 4, 6, 3)).astype(np.uint8)
    data = (x, x.mean((1, 2)).argmax(1))
    kd.export_tflite(model, folder / "colors.tflite", class_names=NAMES, data=data)
    for color, size, suffix in zip(
        COLORS, [(4, 6), (50, 31), (7, 7)], ["png", "bmp", "webp"], strict=True
    ):
        Image.new("RGB", size, COLORS[color]).save(folder / f"{color}.{suffix}", lossless=True)
    return folder


@pytest.fixture
def images(folder):
    return [str(folder / name) for name in ("red.png", "green.bmp", "blue.webp")]


def _json(capsys, *argv):
    assert main(["predict", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["predictions"]


def test_images_of_any_size_and_format_get_their_class_and_its_probability(folder, images, capsys):
    found = _json(capsys, str(folder / "colors.tflite"), *images)
    assert [answer["top"][0]["class"] for answer in found] == ["red", "green", "blue"]
    expected = softmax(np.array(COLORS["red"]) / 25)
    assert found[0]["top"][0]["value"] == pytest.approx(expected[0], abs=1e-5)
    assert sum(part["value"] for part in found[1]["top"]) == pytest.approx(1, abs=1e-5)


def test_the_table_names_images_and_best_classes(folder, images, capsys):
    assert main(["predict", str(folder / "colors.tflite"), *images, "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert "red 100.0%" in out and "blue 100.0%" in out and "2. class" not in out
    assert "Note" not in out


def test_names_come_from_the_file_then_its_record(folder, images, tmp_path, capsys):
    assert label_file(folder / "colors.tflite", 3) == NAMES
    assert label_file(folder / "colors.tflite", 4) == ()
    content = (folder / "colors.tflite").read_bytes()
    with zipfile.ZipFile(folder / "colors.tflite") as archive:
        start = min(member.header_offset for member in archive.infolist())
    bare = tmp_path / "colors.tflite"
    bare.write_bytes(content[:start])
    assert _json(capsys, str(bare), images[2])[0]["top"][0]["class"] == "class 2"
    record = (folder / "colors.tflite.json").read_text()
    (tmp_path / "colors.tflite.json").write_text(record)
    assert _json(capsys, str(bare), images[2])[0]["top"][0]["class"] == "blue"


def test_a_float_file_of_unknown_range_is_noted_and_rescaled(folder, images, tmp_path, capsys):
    other = tmp_path / "other.tflite"
    other.write_bytes((folder / "colors.tflite").read_bytes())
    assert main(["predict", str(other), images[0]]) == 0
    assert "--rescale 1/255" in " ".join(capsys.readouterr().out.split())
    found = _json(capsys, str(other), images[0], "--rescale", "1/255,0.5")
    expected = softmax((np.array(COLORS["red"]) / 255 + 0.5) / 25)
    assert found[0]["top"][0]["value"] == pytest.approx(expected[0], abs=1e-5)


@pytest.mark.parametrize("name", ["float", "int8", "open_batch"])
def test_rows_of_data_with_labels(name, tmp_path, capsys):
    x = np.random.default_rng(0).uniform(-1, 1, (30, 4)).astype(np.float32)
    y = np.arange(30) % 3
    arrays = {
        f"{a}_{split}": v for split in ("train", "val", "test") for a, v in (("x", x), ("y", y))
    }
    np.savez(tmp_path / "rows.npz", **arrays)
    argv = [str(FILES / f"{name}.tflite"), "--data", f"npz:{tmp_path / 'rows.npz'}"]
    found = _json(capsys, *argv, "--samples", "7", "--top", "2")
    logits = LiteRTModel(FILES / f"{name}.tflite", logits=True).predict(x[:7])
    assert [answer["label"] for answer in found] == [str(label) for label in y[:7]]
    best = [answer["top"][0] for answer in found]
    assert [int(part["class"]) for part in best] == logits.argmax(1).tolist()
    np.testing.assert_allclose(
        [part["value"] for part in best], softmax(logits, 1).max(1), atol=1e-5
    )
    assert main(["predict", *argv, "--samples", "7"]) == 0
    right = int((logits.argmax(1) == y[:7]).sum())
    assert f"{right} of 7 are right." in capsys.readouterr().out


def test_bad_input_is_one_line(folder, images, tmp_path, capsys):
    colors = str(folder / "colors.tflite")
    (tmp_path / "note.png").write_text("not an image")
    (tmp_path / "damaged.tflite").write_bytes((folder / "colors.tflite").read_bytes()[:900])
    cases = [
        ([colors], "Give images or `--data`, one of the two."),
        ([colors, images[0], "--data", "digits"], "one of the two"),
        ([colors, "nothing.png"], "nothing.png (no such image file)"),
        ([colors, str(tmp_path / "note.png")], "note.png (its content is not an image)"),
        ([str(tmp_path / "no.tflite"), images[0]], "no.tflite"),
        ([str(tmp_path / "damaged.tflite"), images[0]], "damaged.tflite"),
        ([images[0], images[0]], "not a .tflite file"),
        ([str(FILES / "two.tflite"), images[0]], "must have one input"),
        ([str(FILES / "float.tflite"), images[0]], "its input must be an image"),
        ([colors, "--data", "digits"], "`photo` must be an array of numbers of shape (n, 4, 6, 3)"),
        ([colors, images[0], "--rescale", "1/0"], "`rescale` must be SCALE or SCALE,OFFSET"),
        ([colors, images[0], "--rescale", "a"], "`rescale` must be SCALE or SCALE,OFFSET"),
        ([colors, images[0], "--top", "0"], "`top` must be a whole number >= 1"),
    ]
    for argv, message in cases:
        assert main(["predict", *argv]) == 2, argv
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, (argv, error)
