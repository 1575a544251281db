"""Each kind of file is recognized by its content, and the way out is named where it is refused."""

import re
import shlex
import subprocess
import sys
import zipfile

import h5py
import keras
import pytest

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill.models import KERAS, SAVED_MODEL, TEACHERS, TFLITE, model_file


@pytest.fixture(scope="module")
def net():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


@pytest.fixture(scope="module")
def files(net, tmp_path_factory):
    """Files of all kinds by name."""
    import tf_keras

    folder = tmp_path_factory.mktemp("files with 'quotes'")
    net.save(folder / "new.keras")
    net.save(folder / "whole.h5")
    net.save_weights(folder / "net.weights.h5")
    net.export(folder / "saved", verbose=False)
    old = tf_keras.Sequential([tf_keras.layers.Input((4,)), tf_keras.layers.Dense(3)])
    old.save(folder / "old.keras")
    old.save(folder / "old.h5")
    old.save_weights(folder / "old_weights.h5")
    old.save_weights(folder / "checkpoint_of_old")
    (folder / "renamed.bin").write_bytes(b"\x00\x00\x00\x00TFL3" + bytes(20))
    (folder / "model.onnx").write_bytes(b"\x08\x07" * 20)
    (folder / "notes").write_text("a text")
    (folder / "empty").touch()
    (folder / "run").mkdir()
    (folder / "run/student.keras").touch()
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = 1
    return folder


def test_kinds_that_are_used(files, net):
    kinds = {"new.keras": KERAS, "saved": SAVED_MODEL, "renamed.bin": TFLITE}
    for name, kind in kinds.items():
        assert model_file(files / name, TEACHERS) == models.ModelFile(files / name, kind)
    assert models.load(files / "new.keras").count_params() == net.count_params()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("renamed.bin", "m: must be a .keras file. {} is a .tflite file. A .tflite file has no w"),
        ("saved", "m: must be a .keras file. {} is a SavedModel folder. A SavedModel has no lay"),
        ("old.keras", "{} was saved by Keras 2 (2."),
        ("whole.h5", "{} is a model in HDF5 (Keras 3."),
        ("old.h5", "{} is a model in HDF5 (Keras 2."),
        ("net.weights.h5", "{} has weights alone, without a model (HDF5). Build the model in Pyth"),
        ("net.weights.h5", 'load them with model.load_weights, and save it: model.save("net.kera'),
        ("old_weights.h5", "{} has weights alone, without a model (HDF5)"),
        ("checkpoint_of_old.index", "{} has weights alone, without a model (a TensorFlow checkp"),
        ("other.h5", "{} is an HDF5 file without a Keras model."),
        ("saved/saved_model.pb", "{} is part of a SavedModel. Give its folder: "),
        ("model.onnx", "{} is not a Keras model. Use it as a teacher through a function"),
        ("notes", "{} is not a model: neither a .keras nor a .tflite file"),
        ("empty", "{} is empty."),
        ("run", "{} is a folder without a model: it has no saved_model.pb. It contains student.k"),
        ("nosuch.keras", "m: no such file: {}."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("door", ["file", "load", "parse"])
def test_what_is_refused(files, name, says, door):
    path = files / name
    with pytest.raises(InputError) as caught:
        if door == "file":
            model_file(path, (KERAS,), name="m")
        elif door == "load":
            models.load(path)
        else:
            models.parse(str(path), name="m")
    says = says.removeprefix("m") if door == "load" else says  # it calls the argument "model"
    message = str(caught.value)
    assert says.format(path) in message and "\n" not in message
    assert len(message) < 500 + 3 * len(str(path))


@pytest.mark.parametrize(
    ("name", "made"),
    [("old.keras", "old"), ("old.h5", "old.keras"), ("whole.h5", "whole.keras")],
)
def test_the_command_that_the_message_names_works(files, tmp_path, name, made):
    with pytest.raises(InputError) as caught:
        model_file(files / name, TEACHERS)
    words = shlex.split(str(caught.value)[str(caught.value).index("python -c") :])
    code = words[2]
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    kind = model_file(tmp_path / made, TEACHERS).kind
    assert kind == (SAVED_MODEL if made == "old" else KERAS)


def test_a_damaged_archive_is_left_to_the_reader(tmp_path):
    (tmp_path / "a.keras").write_text("a text")
    assert model_file(tmp_path / "a.keras", (KERAS,)).kind == KERAS
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        archive.writestr("metadata.json", "[" * 100_000)
    assert model_file(tmp_path / "b.keras", (KERAS,)).kind == KERAS


def test_specs_are_not_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dscnn").mkdir()
    (tmp_path / "mine").mkdir()
    assert not isinstance(models.parse("dscnn"), models.ModelFile)  # a family comes first
    with pytest.raises(InputError, match="mine is a folder without a model"):
        models.parse("mine")
    with pytest.raises(InputError, match=r"no model 'other'\. Choose from: mlp:300x300"):
        models.parse("other")
    with pytest.raises(InputError, match="no such file"):
        models.parse("no/such/model")
    for name in ("my: file", "a?b", "c?d=1&e"):
        (tmp_path / name).write_text("a text")
        with pytest.raises(InputError, match=rf"{re.escape(name)} is not a model: neither"):
            models.parse(name)
