"""as_teacher: one door for everything that can teach."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
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


def test_paths_that_are_no_teacher(tmp_path):
    with pytest.raises(
        InputError, match=r"`teacher` must be the path of a .keras or .tflite file, or of a saved"
    ):
        as_teacher(tmp_path / "weights.h5")
    with pytest.raises(InputError, match=r"absent\.keras"):
        as_teacher(tmp_path / "absent.keras")


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
