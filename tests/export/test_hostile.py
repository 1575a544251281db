"""Files and disks that are not as they should be: one clear error, nothing lost or half-made."""

import zipfile

import keras
import numpy as np
import pytest

from keras_distill._internal import InputError
from keras_distill.cli.export import main
from keras_distill.export import resolve

layers = keras.layers

pytestmark = pytest.mark.filterwarnings("ignore::keras_distill.KerasDistillWarning")


@keras.saving.register_keras_serializable(package="Elsewhere")
class Custom(layers.Layer):
    def call(self, x):
        return x + 1


def _net(*extra):
    return keras.Sequential([keras.Input((8,)), *extra, layers.Dense(3, name="logits")], name="net")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.keras"
    _net().save(path)
    return path


def _cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def _holds_a_lambda(path):
    _net(layers.Lambda(lambda x: x * 2)).save(path)


def _holds_an_unknown_class(path):
    _net(Custom()).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = members["config.json"].replace(b"Elsewhere", b"Nowhere")
    members["config.json"] = config.replace(b"Custom", b"Missing")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _leaves_its_folder(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../escaped.txt", "hello")


def _is_text(path):
    path.write_text("not a model at all")


def _has_nan_weights(path):
    net = _net()
    net.set_weights([np.full((8, 3), np.nan), np.zeros(3)])
    net.save(path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_cut, "not a readable zip archive"),
        (_holds_a_lambda, "contains Python code (a lambda), which is never run"),
        (_holds_an_unknown_class, "needs 'Nowhere>Missing', which is not registered"),
        (_leaves_its_folder, "unsafe name in the archive"),
        (_is_text, "not a readable zip archive"),
        (_has_nan_weights, "weights that are NaN or infinite: logits/kernel"),
        (lambda path: path.unlink(), "no such file"),
    ],
)
def test_a_spoiled_file_is_one_line_and_exit_code_2(file, tmp_path, capsys, spoil, words):
    spoil(file)
    assert main([str(file), "-o", str(tmp_path / "net.tflite")]) == 2
    told = capsys.readouterr()
    assert words in told.err and told.err.count("\n") == 1 and told.out == ""
    assert {p.name for p in tmp_path.iterdir()} <= {"net.keras"}
    assert not (tmp_path.parent / "escaped.txt").exists()


def test_single_bytes_flipped_anywhere_in_a_keras_file(file):
    content = file.read_bytes()
    weights = [keras.ops.convert_to_numpy(w) for w in resolve(file).model.weights]
    outcomes = []
    for place in np.linspace(0, len(content) - 1, 120).astype(int):
        flipped = bytearray(content)
        flipped[place] ^= 0xFF
        file.write_bytes(flipped)
        try:
            loaded = resolve(file).model.weights
        except InputError as error:
            outcomes.append("refused")
            assert "\n" not in str(error)
        else:  # a byte that means nothing, a date: then the weights are what they were
            outcomes.append("same")
            for old, new in zip(weights, loaded, strict=True):
                np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(new))
    assert outcomes.count("refused") > 60


def test_an_existing_file_stays(file, tmp_path, capsys):
    for name in ("net.tflite", "net.tflite.json"):
        (tmp_path / name).write_text("precious")
        assert main([str(file), "-o", str(tmp_path / "net.tflite")]) == 2
        assert f"{name} exists. Pass overwrite=True (--overwrite)" in capsys.readouterr().err
        assert (tmp_path / name).read_text() == "precious"
        (tmp_path / name).unlink()


def test_no_folder_is_made_for_nothing(file, tmp_path, capsys):
    _has_nan_weights(file)
    assert main([str(file), "-o", str(tmp_path / "a/b/net.tflite")]) == 2
    assert not (tmp_path / "a").exists()
    assert main([str(file), "-o", str(file / "net.tflite")]) == 2
    assert f"Cannot write in {file}: Not a directory" in capsys.readouterr().err


def test_an_output_that_is_a_folder(file, tmp_path, capsys):
    assert main([str(file), "-o", str(tmp_path), "--overwrite"]) == 2
    assert "is a folder; give the name of the .tflite file" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(file, mounted, capsys):
    folder = mounted("ro,size=64k")
    assert main([str(file), "-o", str(folder / "net.tflite")]) == 2
    assert f"Cannot write in {folder}" in capsys.readouterr().err


def test_a_full_disk_is_left_as_it_was(converted_before, tmp_path, mounted, capsys):
    file = tmp_path / "net.keras"
    converted_before.save(file)
    # Four pages: two files, and room for another of two pages, but not for its record.
    folder = mounted("size=16k")
    (folder / "net.tflite").write_text("the old one")
    (folder / "net.tflite.json").write_text("its record")
    out = str(folder / "net.tflite")
    assert main([str(file), "-o", out, "--quantization", "dynamic", "--overwrite"]) == 2
    told = capsys.readouterr().err
    assert "No space left on device" in told and told.count("\n") == 1
    assert (folder / "net.tflite").read_text() == "the old one"
    assert (folder / "net.tflite.json").read_text() == "its record"
    assert len(list(folder.iterdir())) == 2
