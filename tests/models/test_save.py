import json
import zipfile

import keras
import numpy as np
import pytest

from keras_distill import models
from keras_distill._internal import InputError


def _model():
    """A model whose layers share an object, which Keras identifies by its place in memory."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    policy = keras.DTypePolicy("float32")
    inputs = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(3, dtype=policy, name="hidden")(inputs)
    outputs = keras.layers.Dense(2, dtype=policy, name="logits")(hidden)
    model = keras.Model(inputs, outputs, name="small")
    model.compile("adam", "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    return model


def test_equal_models_give_byte_identical_files(tmp_path):
    first, second = _model(), _model()
    files = [
        models.save(first, tmp_path / "first.keras"),
        models.save(second, tmp_path / "second.keras"),
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    first.save(tmp_path / "keras.keras")
    second.save(tmp_path / "keras2.keras")
    # Else this test could not fail.
    assert (tmp_path / "keras.keras").read_bytes() != (tmp_path / "keras2.keras").read_bytes()


def test_times_are_fixed_and_shared_objects_are_numbered(tmp_path):
    path = models.save(_model(), tmp_path / "a.keras")
    with zipfile.ZipFile(path) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        metadata = json.loads(archive.read("metadata.json"))
        config = archive.read("config.json").decode()
    assert metadata == {"keras_version": keras.__version__, "date_saved": "1980-01-01@00:00:00"}
    numbers = {int(part.split("}")[0].split(",")[0]) for part in config.split('_object_id": ')[1:]}
    assert numbers == {1}


def test_the_file_is_what_keras_saved(tmp_path):
    model = _model()
    path = models.save(model, tmp_path / "a.keras")
    found = keras.models.load_model(path)
    for one, other in zip(model.variables, found.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert int(found.optimizer.iterations) == 1
    model.save(tmp_path / "keras.keras")
    with zipfile.ZipFile(path) as ours, zipfile.ZipFile(tmp_path / "keras.keras") as theirs:
        assert ours.namelist() == theirs.namelist()
        weights = "model.weights.h5"
        assert ours.getinfo(weights).file_size == theirs.getinfo(weights).file_size
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.keras", "keras.keras"]


def test_an_existing_file_is_replaced_only_on_demand(tmp_path):
    path = models.save(_model(), tmp_path / "a.keras")
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists"):
        models.save(_model(), path)
    models.save(_model(), path, overwrite=True)
    assert path.read_bytes() == before
    (tmp_path / "b.keras").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        models.save(_model(), tmp_path / "b.keras", overwrite=True)


def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch):
    model = _model()
    path = models.save(model, tmp_path / "a.keras")
    before = path.read_bytes()
    monkeypatch.setattr("keras_distill.models._save._dated", lambda metadata: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        models.save(model, path, overwrite=True)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
