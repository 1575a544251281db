"""Files that end in softmax or sigmoid: their exact logits are one tensor earlier."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.litert import LiteRTModel, read_graph
from keras_distill.litert._tail import with_logits

RNG = np.random.default_rng(0)
W = tf.constant(RNG.normal(size=(4, 6)).astype("float32"))
X = RNG.normal(size=(9, 4)).astype("float32")
Z = X @ W.numpy()


def convert(function, path, *, batch=1, integer=False):
    """Writes a file of `function`, without signature, quantized to int8 if asked for."""
    spec = tf.TensorSpec((batch, 4), tf.float32, name="x")
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(function).get_concrete_function(spec)]
    )
    if integer:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[None]] for row in X)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())
    return path


@pytest.fixture
def file(tmp_path):
    return lambda function, **options: convert(function, tmp_path / "file.tflite", **options)


@pytest.mark.parametrize(("end", "kind"), [(tf.nn.softmax, "softmax"), (tf.nn.sigmoid, "sigmoid")])
@pytest.mark.parametrize("integer", [False, True])
def test_logits(file, end, kind, integer):
    path = file(lambda x: end(x @ W), integer=integer)
    before = path.read_bytes()
    model = LiteRTModel(path, logits=True)
    (name,) = model.heads
    assert model.heads[name] == kind
    step = model.outputs[0].scale
    assert (step is not None) == integer and model.outputs[0].shape == (1, 6)
    np.testing.assert_allclose(model.predict(X), Z, atol=1.5 * step if integer else 1e-5)
    plain = LiteRTModel(path)
    assert plain.heads == {} and path.read_bytes() == before
    tolerance = 0.03 if integer else 1e-5
    np.testing.assert_allclose(plain.predict(X), end(Z).numpy(), atol=tolerance)


def test_a_change_of_shape_behind_the_softmax(file):
    path = file(lambda x: tf.reshape(tf.nn.softmax(tf.reshape(x @ W, (-1, 1, 2, 3))), (-1, 2, 3)))
    model = LiteRTModel(path, logits=True)
    assert model.outputs[0].shape == (1, 2, 3) and list(model.heads.values()) == ["softmax"]
    np.testing.assert_allclose(model.predict(X), Z.reshape(-1, 2, 3), atol=1e-5)


def test_a_softmax_over_other_axes_is_left(file):
    path = file(lambda x: tf.reshape(tf.nn.softmax(tf.reshape(x @ W, (-1, 2, 3))), (-1, 6)))
    model = LiteRTModel(path, logits=True)
    assert model.heads == {}
    np.testing.assert_allclose(model.predict(X).sum(1), 2, atol=1e-5)


def test_each_of_several_outputs(file):
    path = file(lambda x: {"p": tf.nn.softmax(x @ W), "s": tf.nn.sigmoid(x), "z": 2 * x})
    plain = LiteRTModel(path).predict(X)
    model = LiteRTModel(path, logits=True)
    found = model.predict(X)
    assert found.keys() == plain.keys() and sorted(model.heads.values()) == ["sigmoid", "softmax"]
    for name, values in found.items():
        head = model.heads.get(name)
        expected = {"softmax": Z, "sigmoid": X, None: 2 * X}[head]
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_an_open_batch(file):
    model = LiteRTModel(file(lambda x: tf.nn.softmax(x @ W), batch=None), logits=True)
    assert model.outputs[0].shape == (None, 6)
    np.testing.assert_allclose(model.predict(X, batch_size=4), Z, atol=1e-5)


def test_a_file_that_ends_in_logits_is_not_changed(file):
    path = file(lambda x: tf.nn.relu(x) @ W)
    assert with_logits(read_graph(path)).content is None
    model = LiteRTModel(path, logits=True)
    assert model.heads == {}
    np.testing.assert_allclose(model.predict(X), np.maximum(X, 0) @ W.numpy(), atol=1e-5)


def test_a_gate_is_no_head(file):
    model = LiteRTModel(file(lambda x: tf.nn.silu(x @ W)), logits=True)
    assert model.heads == {}
