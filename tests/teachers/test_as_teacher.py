"""as_teacher: one door for everything that can teach."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import Distiller
from keras_distill._internal import InputError
from keras_distill.records import TeacherPart
from keras_distill.runs._teacher_sources import open_teacher
from keras_distill.targets import StoreSource
from keras_distill.teachers import (
    CallableTeacher,
    KerasTeacher,
    Teacher,
    TeacherEnsemble,
    TFLiteTeacher,
    as_teacher,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "tflite"


def _model():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


def test_kinds(tmp_path):
    model = _model()
    assert isinstance(as_teacher(model), KerasTeacher)
    assert isinstance(as_teacher([model, model]), TeacherEnsemble)
    assert isinstance(as_teacher(np.tanh), CallableTeacher)
    teacher = KerasTeacher(model)
    assert as_teacher(teacher) is teacher
    model.save(tmp_path / "model.keras")
    loaded = as_teacher(tmp_path / "model.keras")
    assert loaded.fingerprint() == teacher.fingerprint()
    assert as_teacher(str(tmp_path / "model.keras")).fingerprint() == teacher.fingerprint()


@pytest.mark.parametrize("source", [3, None, dict, {"a": 1}])
def test_what_cannot_teach(source):
    with pytest.raises(InputError, match="`teacher` must be a Keras 3 model, a list of them"):
        as_teacher(source)


class _Own(Teacher):
    def __init__(self, made):
        self._made = made

    def outputs(self, x, layers=()):
        return self._made

    def fingerprint(self):
        return None


def test_a_teacher_of_the_users_own_may_return_a_single_tensor():
    logits = tf.constant([[1.0, 2.0, 3.0]])
    teacher = as_teacher(_Own((logits, {})))
    assert teacher.logits(0) is logits and teacher.predict(0).shape == (1, 3)
    assert list(teacher.checked_logits(0)) == [""]
    assert as_teacher([teacher, teacher]).predict(0).shape == (1, 3)


@pytest.mark.parametrize("made", [tf.zeros((2, 3)), {"": tf.zeros((2, 3))}, (1, 2), (1, {}, {})])
def test_a_teacher_of_the_users_own_must_return_a_pair(made):
    with pytest.raises(InputError, match=r"`_Own\.outputs` must return a pair of dicts"):
        _Own(made).logits(0)


def test_the_shapes_of_a_teacher_have_names():
    teacher = _Own(None)
    teacher.output_shapes = (None, 3)
    with pytest.raises(InputError, match="`output_shapes` must be a dict of shapes by output name"):
        as_teacher(teacher)


def _recipe_teacher(source):
    return open_teacher(str(source), TeacherPart(model=str(source)), ())


@pytest.mark.parametrize(
    "door",
    [
        as_teacher,
        lambda path: as_teacher(str(path)),
        lambda path: as_teacher([path, path]),
        lambda path: StoreSource((str(path),), "digits").open_teacher(),
        lambda path: Distiller(path, _model()),
        _recipe_teacher,
    ],
)
def test_every_door_says_the_same_of_what_is_no_teacher(tmp_path, door):
    _model().save_weights(tmp_path / "a.weights.h5")
    _model().save(tmp_path / "a.h5")
    (tmp_path / "empty.keras").touch()
    (tmp_path / "notes").write_text("text")
    (tmp_path / "folder").mkdir()
    for name, says in (
        ("absent.keras", "teacher: no such file: "),
        ("absent/folder", "teacher: no such file: "),
        ("a.weights.h5", "has weights alone, without a model"),
        ("a.h5", "is a model in HDF5 (Keras 3."),
        ("notes", "is not a model: neither a .keras nor a .tflite file, nor a SavedModel folder"),
        ("folder", "is a folder without a model"),
    ):
        with pytest.raises(InputError, match=re.escape(says)) as caught:
            door(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_function_that_is_named_is_a_teacher(tmp_path, monkeypatch):
    (tmp_path / "own_teachers.py").write_text(
        "import numpy as np\ndef make():\n    return lambda x: np.asarray(x) * 2 - 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for door in (as_teacher, _recipe_teacher):
        found = door("py:own_teachers:make").predict(np.ones((2, 3), "float32"))
        np.testing.assert_array_equal(found, np.ones((2, 3)))


def test_the_output_to_choose_is_named():
    x = keras.Input((4,))
    parts = {name: keras.layers.Dense(n, name=name)(x) for name, n in (("kind", 3), ("size", 2))}
    rows = np.ones((2, 4), "float32")
    for outputs in (parts, [parts["kind"], parts["size"]]):
        model = keras.Model(x, outputs)
        code = as_teacher(model).choice("size")
        chosen = eval(code, {"keras": keras, "teacher": model})
        np.testing.assert_array_equal(chosen(rows), as_teacher(model).predict(rows)["size"])
    both = {"kind": (4,), "size": (4,)}
    teacher = CallableTeacher(lambda x: {"kind": x, "size": x * 2}, output_shape=both)
    own = eval(teacher.choice("size"), {"as_teacher": as_teacher, "teacher": teacher})
    np.testing.assert_array_equal(own(rows), rows * 2)


def _tflite(model, path):
    import tensorflow as tf

    spec = keras.InputSpec(shape=(1, 4), dtype="float32", name="x")
    model.export(path / "saved", verbose=False, input_signature=[spec])
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path / "saved"))
    (path / "model.tflite").write_bytes(converter.convert())
    return path / "model.tflite"


def test_tflite_file(tmp_path):
    import tensorflow as tf

    model = _model()
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    teacher = as_teacher(_tflite(model, tmp_path))
    assert isinstance(teacher, TFLiteTeacher) and teacher.output_shapes == {"": (None, 3)}
    in_graph = tf.function(teacher.logits)(tf.constant(x))
    np.testing.assert_allclose(in_graph, model(x), atol=1e-5)
    np.testing.assert_allclose(teacher.predict(x), model(x), atol=1e-5)
    alone = as_teacher(teacher.path, threads=1)
    shared = as_teacher(str(teacher.path), threads=3)
    np.testing.assert_array_equal(shared.predict(x), alone.predict(x))
    assert len(teacher.fingerprint()) == 64
    with pytest.raises(InputError, match="TFLiteTeacher has no layers to read"):
        teacher.features(x, ["a"])


def test_the_logits_of_a_tflite_file_that_ends_in_softmax(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    x = 30 * np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    teacher = TFLiteTeacher(_tflite(model, tmp_path))
    assert not teacher.needs_check and teacher.head("").kind == "softmax"
    exact = KerasTeacher(model).predict(x)  # far beyond what float32 probabilities hold
    np.testing.assert_allclose(teacher.predict(x), exact, rtol=1e-5, atol=1e-4)


def test_a_tflite_file_that_crashes_the_interpreter_does_not_crash_this_process(tmp_path):
    content = bytearray((GOLDEN / "flex.tflite").read_bytes())
    content[16:20] = (1 << 20).to_bytes(4, "little")  # an offset beyond the end of the file
    path = tmp_path / "damaged.tflite"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged\.tflite: "):
        as_teacher(path)
