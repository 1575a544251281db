import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.export import InputInfo, export_all
from keras_distill.models import SavedModel, _saved_model

_ROWS = tf.TensorSpec((None, 3), tf.float32, name="x")


def _through_python(x):
    return {"y": tf.ensure_shape(tf.py_function(lambda v: v, [x], tf.float32), (None, 3))}


# What it computes -> (function of x, what x is).
_KINDS = {
    "double": (lambda x: {"y": 2 * x}, _ROWS),
    "python": (_through_python, _ROWS),
    "steal": (lambda x: {"y": x, "text": tf.io.read_file("/etc/passwd")}, _ROWS),
    "words": (lambda x: {"y": tf.strings.length(x)}, tf.TensorSpec((None,), tf.string, name="x")),
    "any_shape": (lambda x: {"y": x}, tf.TensorSpec(None, tf.float32, name="x")),
}


def _save(path, **signatures):
    module = tf.Module()
    module.functions = {
        key: tf.function(_KINDS[kind][0], input_signature=[_KINDS[kind][1]])
        for key, kind in signatures.items()
    }
    tf.saved_model.save(module, str(path), signatures=dict(module.functions))
    return path


def test_facts_are_read_without_loading_it(tmp_path):
    source = SavedModel(_save(tmp_path / "m", serving_default="double"))
    assert source.inputs == (InputInfo("x", (None, 3), "float32"),)
    assert source.outputs == ("y",) and source.name == "m"


def test_a_gpu_computes_it_in_full_float32(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(_saved_model, "Child", lambda *_, **options: started.append(options))
    with pytest.raises(AttributeError):  # there is no child to close at the end
        SavedModel(_save(tmp_path / "m", serving_default="double")).predict({"x": np.ones((1, 3))})
    assert [one["environment"] for one in started] == [{"NVIDIA_TF32_OVERRIDE": "0"}]


def test_a_lone_signature_of_another_name_will_do(tmp_path):
    assert SavedModel(_save(tmp_path / "m", double="double")).outputs == ("y",)
    path = _save(tmp_path / "n", one="double", other="double")
    with pytest.raises(InputError, match=r"a signature named 'serving_default'. It has: one, oth"):
        SavedModel(path)


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("python", "access files or run Python, so it is not loaded: EagerPyFunc"),
        ("steal", "access files or run Python, so it is not loaded: ReadFile"),
        ("words", "input 'x' is string; only numbers can be exported"),
        ("any_shape", "input 'x' has no known shape with a batch first"),
    ],
)
def test_what_is_refused(tmp_path, signature, words):
    path = _save(tmp_path / "m", serving_default=signature)
    with pytest.raises(InputError, match=words):
        SavedModel(path)


def test_damage_is_told(tmp_path):
    path = _save(tmp_path / "m", serving_default="double")
    (path / "variables/variables.index").unlink()
    (path / "variables/variables.data-00000-of-00001").unlink()
    (path / "saved_model.pb").write_bytes((path / "saved_model.pb").read_bytes()[:-50])
    with pytest.raises(InputError):
        SavedModel(path).predict({"x": np.ones((2, 3), np.float32)})


@pytest.mark.filterwarnings("ignore::keras_distill.KerasDistillWarning")
def test_a_keras_export_becomes_int8_at_batch_1(tmp_path):
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [keras.Input((6,), name="x"), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)]
    )
    net.export(tmp_path / "m", verbose=False)
    rows = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    result = export_all(
        tmp_path / "m", tmp_path, quantizations=("float32", "int8"), calibration=rows
    )
    assert result.summary() == {"float32": "made", "int8": "made"}
    record = result.exports["int8"]
    assert record.file == "m-int8.tflite"
    assert record.inputs[0].shape == (1, 6) and record.outputs[0].name == "output_0"
    assert record.model.parameters is None
    assert result.exports["float32"].verification.outputs[0].max_difference < 1e-5
