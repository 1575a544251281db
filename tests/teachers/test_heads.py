"""Softmax and sigmoid heads: taken off exactly, or refused by name, never changed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._probabilities import look_like_probabilities
from keras_distill.teachers._heads import (
    Head,
    check_heads,
    find_heads,
    logits_of,
    symbolic_outputs,
)

layers = keras.layers
X = np.random.default_rng(0).normal(size=(5, 8)).astype("float32") * 30


def _model(*tail, shape=(8,)):
    return keras.Sequential([keras.Input(shape), *tail])


def _functional(function, shape=(8,)):
    x = keras.Input(shape)
    return keras.Model(x, function(x))


def _nested():
    inner = _functional(lambda x: layers.Dense(4, "softmax", name="inner_softmax")(x))
    return _functional(lambda x: _model(inner)(x))


UNDONE = {
    "fused Dense": (lambda: _model(layers.Dense(4, "softmax", name="d")), "softmax", "d"),
    "fused sigmoid": (lambda: _model(layers.Dense(4, "sigmoid", name="d")), "sigmoid", "d"),
    "Activation": (
        lambda: _model(layers.Dense(4), layers.Activation("softmax", name="a")),
        "softmax",
        "a",
    ),
    "Softmax": (lambda: _model(layers.Dense(4), layers.Softmax(name="s")), "softmax", "s"),
    "operation": (
        lambda: _functional(lambda x: keras.ops.softmax(layers.Dense(4)(x))),
        "softmax",
        None,
    ),
    "sigmoid operation": (
        lambda: _functional(lambda x: keras.ops.sigmoid(layers.Dense(4)(x))),
        "sigmoid",
        None,
    ),
    "nested": (_nested, "softmax", "inner_softmax"),
    "function of keras.ops": (
        lambda: _model(layers.Dense(4, activation=keras.ops.softmax, name="d")),
        "softmax",
        "d",
    ),
}


def _by_numpy(model):
    """The input times the last layer's weights."""
    kernel, bias = model.get_weights()[-2:]
    return X @ kernel + bias


@pytest.mark.parametrize("name", UNDONE)
@pytest.mark.parametrize("graph", [False, True])
def test_head_is_taken_off_exactly(name, graph):
    build, kind, layer = UNDONE[name]
    model = build()
    head = find_heads(model)
    assert head.kind == kind and head.certain
    assert layer is None or head.layer == layer

    def logits(x):
        return logits_of(model(x, training=False), head)

    values = (tf.function(logits) if graph else logits)(tf.constant(X)).numpy()
    np.testing.assert_allclose(values, _by_numpy(model), rtol=1e-5, atol=1e-4)
    # Probabilities of these inputs are 0 and 1 in float32: no logarithm could give this back.
    assert np.abs(values).max() > 20


def test_softmax_of_a_wrapped_layer():
    wrapped = layers.SpectralNormalization(layers.Dense(4, "softmax"), name="w")
    model = _model(wrapped)
    head = find_heads(model)
    assert head == Head("softmax", "w", certain=True)
    kernel, bias = wrapped.layer.get_weights()
    np.testing.assert_allclose(logits_of(model(X), head), X @ kernel + bias, rtol=1e-5, atol=1e-4)


def test_softmax_of_a_conv_map():
    model = _model(layers.Conv2D(3, 1, activation="softmax", name="c"), shape=(4, 4, 2))
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype("float32")
    kernel, bias = model.get_weights()
    values = logits_of(model(x), find_heads(model))
    np.testing.assert_allclose(values, x @ kernel[0, 0] + bias, rtol=1e-5, atol=1e-6)


STUCK = {
    "reshape": (lambda x: layers.Reshape((2, 2), name="end")(layers.Dense(4, "softmax")(x)), "end"),
    "average": (
        lambda x: layers.Average(name="end")(
            [layers.Dense(4, "softmax")(x), layers.Dense(4, "softmax")(x)]
        ),
        "end",
    ),
    "wrong axis": (
        lambda x: layers.Softmax(axis=1, name="end")(layers.Reshape((2, 4))(layers.Dense(8)(x))),
        "end",
    ),
    "hard sigmoid": (lambda x: layers.Dense(4, "hard_sigmoid", name="end")(x), "end"),
    "sparsemax": (lambda x: layers.Dense(4, "sparsemax", name="end")(x), "end"),
    "sparsemax operation": (lambda x: keras.ops.sparsemax(layers.Dense(4)(x)), "sparsemax"),
    "sparse sigmoid": (lambda x: layers.Dense(4, "sparse_sigmoid", name="end")(x), "end"),
    "arithmetic": (lambda x: layers.Dense(4, "softmax")(x) * 2.0, "multiply"),
    "step by step": (
        lambda x: layers.TimeDistributed(layers.Dense(4, "softmax"), name="end")(
            layers.Reshape((2, 4))(x)
        ),
        "end",
    ),
    "model step by step": (
        lambda x: layers.TimeDistributed(
            _model(layers.Dense(4), layers.Softmax(), shape=(4,)), name="end"
        )(layers.Reshape((2, 4))(x)),
        "end",
    ),
    "recurrent": (
        lambda x: layers.SimpleRNN(4, activation="softmax", name="end")(layers.Reshape((2, 4))(x)),
        "end",
    ),
}


@pytest.mark.parametrize("name", STUCK)
def test_head_that_cannot_be_undone_is_named(name):
    function, layer = STUCK[name]
    heads = find_heads(_functional(function))
    with pytest.raises(InputError, match=f"The teacher's probabilities .* at layer '{layer}"):
        check_heads("teacher", heads)


LINEAR = {
    "Dense": lambda x: layers.Dense(4)(x),
    "relu before": lambda x: layers.Dense(4)(layers.Dense(4, "softmax")(x)),
    "batch norm": lambda x: layers.BatchNormalization()(layers.Dense(4)(x)),
    "pooled map": lambda x: layers.GlobalAveragePooling1D()(
        layers.Conv1D(4, 1)(layers.Reshape((8, 1))(x))
    ),
    "gate": lambda x: layers.Multiply()([layers.Dense(4)(x), layers.Dense(4, "sigmoid")(x)]),
    "log of softmax": lambda x: keras.ops.log_softmax(layers.Dense(4)(x)),
    "input": lambda x: layers.Dropout(0.5)(x),
    "gelu": lambda x: layers.Dense(4, "gelu")(x),
    "log-probabilities": lambda x: layers.Dense(4, "log_softmax")(x),
    "step by step": lambda x: layers.TimeDistributed(layers.Dense(4))(layers.Reshape((2, 4))(x)),
    "recurrent": lambda x: layers.SimpleRNN(4)(layers.Reshape((2, 4))(x)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_other_ends_are_logits(name):
    model = _functional(LINEAR[name])
    head = find_heads(model)
    assert head.kind == "linear"
    output = model(X)
    assert logits_of(output, head) is output


def test_several_outputs_keep_their_structure():
    x = keras.Input((8,))
    model = keras.Model(
        x, {"a": layers.Dense(3, "softmax", name="da")(x), "b": layers.Dense(2, name="db")(x)}
    )
    assert find_heads(model) == {"a": Head("softmax", "da", True), "b": Head("linear", "db", True)}


def test_custom_code_is_unknown_and_its_values_tell():
    lambda_model = _model(layers.Dense(4), layers.Lambda(tf.nn.softmax, name="code"))
    assert find_heads(lambda_model) == Head("unknown", "code")
    own = _model(layers.Dense(4, activation=tf.nn.softmax, name="own"))
    assert find_heads(own).kind == "unknown"
    assert find_heads(_model(layers.Dense(4, activation=layers.Softmax()))).kind == "unknown"
    assert look_like_probabilities(own(X))
    assert not look_like_probabilities(X)
    assert not look_like_probabilities(tf.ones((4, 1)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4, "softmax")

    def call(self, x):
        return self.dense(x)


def test_subclassed_model_shows_its_logits_in_the_pass():
    model = Subclassed()
    output = model(X)
    kernel, bias = model.get_weights()
    assert symbolic_outputs(model) is None
    values = logits_of(output, find_heads(model))
    np.testing.assert_allclose(values, X @ kernel + bias, rtol=1e-5, atol=1e-4)


def test_looking_changes_nothing():
    model = UNDONE["nested"][0]()
    before = model.to_json(), [len(la._inbound_nodes) for la in model._flatten_layers()]
    weights = model.get_weights()
    logits_of(model(X, training=False), find_heads(model))
    assert before == (model.to_json(), [len(la._inbound_nodes) for la in model._flatten_layers()])
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
