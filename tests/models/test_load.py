import io
import json
import random
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_distill import models
from keras_distill._internal import InputError

CUSTOM = """
import keras

@keras.saving.register_keras_serializable(package="house")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small.keras"
    models.build("mlp:3", input_shape=(4,), num_classes=2, seed=0).save(path)
    return path


def edited(source, target, change):
    """Copies a .keras file, its config passed through `change`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                data = change(data.decode())
            new.writestr(name, data)
    return target


def refused(path, **kwargs):
    with pytest.raises(InputError) as caught:
        models.load(path, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_loads_uncompiled(file):
    model = models.load(str(file))
    assert not model.compiled and model.output_shape == (None, 2)


def test_lambda_is_never_run(tmp_path):
    marker = tmp_path / "ran"
    layer = keras.layers.Lambda(lambda x, p=str(marker): (open(p, "w").close(), x)[1])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "code.keras")
    marker.unlink(missing_ok=True)
    keras.config.enable_unsafe_deserialization()
    try:
        assert "--import" in refused(tmp_path / "code.keras")
    finally:
        keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", None)
    assert not marker.exists()


@pytest.mark.parametrize("module", ["os", "keras_hub", "builtins", None])
def test_unknown_class_is_refused_before_anything_is_imported(file, tmp_path, module):
    def change(text):
        config = json.loads(text)
        layer = config["config"]["layers"][1]
        layer.update(module=module, class_name="system", registered_name="os>system")
        return json.dumps(config)

    message = refused(edited(file, tmp_path / "unknown.keras", change))
    assert "'os>system'" in message and "--import " in message


class TestImports:
    @pytest.fixture
    def custom(self, tmp_path, monkeypatch):
        """A file with a layer of a module that only the current folder has, not imported yet."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "house_layers.py").write_text(CUSTOM)
        namespace = {"__name__": "house_layers"}
        exec(CUSTOM, namespace)
        inputs = keras.Input((4,))
        keras.Model(inputs, namespace["Twice"]()(inputs)).save(tmp_path / "custom.keras")
        registered = keras.saving.get_custom_objects()
        registered.pop("house>Twice")
        yield tmp_path / "custom.keras"
        registered.pop("house>Twice", None)

    def test_names_the_way_out(self, custom):
        message = refused(custom)
        assert "'house>Twice'" in message and "--import house_layers" in message
        assert "Decorate the class with @keras.saving.register_keras_serializable()" in message

    def test_loads(self, custom):
        model = models.load(custom, imports=["house_layers"])
        np.testing.assert_allclose(model(np.ones((1, 4))), 2 * np.ones((1, 4)))

    def test_a_class_that_was_registered_later(self, custom, monkeypatch):
        """A training is not lost because its model's class was not registered."""
        monkeypatch.delitem(sys.modules, "house_layers", raising=False)
        code = CUSTOM.replace("@keras.saving.register_keras_serializable", "# @")
        namespace = {"__name__": "house_layers"}
        exec(code, namespace)
        inputs = keras.Input((4,))
        model = keras.Model(inputs, namespace["Twice"]()(inputs))
        with pytest.raises(InputError, match=r"The student '.*' has the class Twice, which is not"):
            models.check_registered(model, "The student")
        model.save(custom)
        assert "needs 'Twice', which is not registered" in refused(custom)
        loaded = models.load(custom, imports=["house_layers"])
        np.testing.assert_allclose(loaded(np.ones((1, 4))), 2 * np.ones((1, 4)))
        models.check_registered(loaded, "The student")

    def test_missing_module(self, custom):
        assert "nosuch_layers" in refused(custom, imports=["nosuch_layers"])

    def test_module_that_fails(self, custom):
        (custom.parent / "broken_layers.py").write_text("1 / 0")
        assert "ZeroDivisionError" in refused(custom, imports=["broken_layers"])

    def test_module_that_needs_another(self, custom):
        (custom.parent / "needy_layers.py").write_text("import nosuch_library")
        assert "nosuch_library" in refused(custom, imports=["needy_layers"])

    @pytest.mark.parametrize("imports", ["house_layers", ["../house"], [3]])
    def test_bad_names(self, custom, imports):
        assert "import" in refused(custom, imports=imports)


def test_other_files(file, tmp_path):
    assert "no such file" in refused(tmp_path / "nosuch.keras")
    assert "folder" in refused(tmp_path)
    (tmp_path / "text.keras").write_text("not a model")
    assert "not a readable zip" in refused(tmp_path / "text.keras")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme", "hello")
    assert "config.json" in refused(tmp_path / "other.keras")
    assert "JSON" in refused(edited(file, tmp_path / "config.keras", lambda text: text[:50]))


def test_weights_of_another_shape(file, tmp_path):
    def change(text):
        assert '"units": 3' in text
        return text.replace('"units": 3', '"units": 4')

    assert "cannot load" in refused(edited(file, tmp_path / "wrong.keras", change))


def test_no_model_inside(file, tmp_path):
    def change(text):
        return json.dumps(keras.saving.serialize_keras_object(keras.layers.ReLU()))

    assert refused(edited(file, tmp_path / "layer.keras", change))


def test_cut_files(file, tmp_path):
    whole = file.read_bytes()
    for share in (0, 0.2, 0.5, 0.9, 0.999):
        (tmp_path / "cut.keras").write_bytes(whole[: int(len(whole) * share)])
        refused(tmp_path / "cut.keras")


def test_single_bits_flipped(file, tmp_path):
    whole, generator = file.read_bytes(), random.Random(0)
    expected = [w.tolist() for w in models.load(file).get_weights()]
    refusals = 0
    # The zip directory and the local headers are few bytes of many: aim at them as well.
    tail = len(whole) - 400
    places = [generator.randrange(len(whole)) for _ in range(40)]
    places += [generator.randrange(tail, len(whole)) for _ in range(40)] + list(range(40))
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << generator.randrange(8)
        (tmp_path / "flipped.keras").write_bytes(damaged)
        try:
            model = models.load(tmp_path / "flipped.keras")
        except InputError as error:
            assert "\n" not in str(error)
            refusals += 1
        else:
            assert [w.tolist() for w in model.get_weights()] == expected
    assert refusals > len(places) / 2


def _with_config(path, change):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config["config"]["layers"])
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_sizes_in_a_config_decide_no_memory(tmp_path):
    path = tmp_path / "small.keras"
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="end")])
    model.save(path)
    _with_config(path, lambda layers: layers[-1]["config"].update(units=10**9))
    with pytest.raises(
        InputError, match=r"declares 20000000000 bytes of weights, but the file has"
    ):
        models.load(path)
    model.save(path)
    repeat = {"name": "again", "trainable": True, "dtype": "float32", "n": 10**9}
    layer = {"module": "keras.layers", "class_name": "RepeatVector", "config": repeat}
    _with_config(path, lambda layers: layers.append(layer))
    with pytest.raises(InputError, match=r"'again' has an output of shape \(None, 1000000000, 3\)"):
        models.load(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_weights_that_declare_more_than_they_have_are_not_read(tmp_path, compressed):
    path = tmp_path / "small.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="end")]).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    file = io.BytesIO(members["model.weights.h5"])
    with h5py.File(file, "a") as weights:
        del weights["layers/dense/vars/0"]
        weights.create_dataset("layers/dense/vars/0", shape=(10**6, 500), chunks=(100, 100))
    members["model.weights.h5"] = file.getvalue()
    how = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"weights\.h5 declares \d+ bytes of weights, but has"):
        models.load(path)
