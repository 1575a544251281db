"""Canaries: one test per use of Keras's private API, to run first against a new Keras.

Each test compares what the private API gives with what public API or the formula says. Against
another version: install it with TensorFlow into an environment of its own, and run
`python -m pytest --noconftest tests/internal/test_keras_private.py` there.
"""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

# Loaded by path, so that the canaries run where only Keras and TensorFlow are installed.
_PATH = Path(__file__).parents[2] / "keras_distill" / "_internal" / "_keras_private.py"
_SPEC = importlib.util.spec_from_file_location("canary_keras_private", _PATH)
private = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(private)

layers = keras.layers
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)


def functional():
    x = keras.Input((4,), name="x")
    return keras.Model(x, layers.Dense(3, "softmax", name="end")(layers.Dense(5, name="mid")(x)))


def sequential():
    return keras.Sequential([keras.Input((4,)), layers.Dense(5, name="mid"), layers.Dense(3)])


def test_is_functional():
    kinds = functional(), sequential(), Own()
    assert [private.is_functional(model) for model in kinds] == [True, False, False]


def test_runs_its_graph():
    class Override(type(functional())):
        def call(self, inputs, training=None, mask=None):
            return super().call(inputs, training, mask)

    x = keras.Input((4,))
    overridden = Override(x, layers.Dense(3)(x))
    kinds = functional(), sequential(), Own(), overridden
    assert [private.runs_its_graph(model) for model in kinds] == [True, False, False, False]


def test_producer():
    x = keras.Input((4,))
    split = keras.ops.split(layers.Dense(6, name="d")(x), 2, axis=-1)
    operation, node, index = private.producer(split[1])
    assert type(operation).__name__ == "Split" and (node, index) == (0, 1)
    dense = layers.Dense(3)
    assert [private.producer(dense(x))[1] for _ in range(2)] == [0, 1]


def test_call_inputs():
    x, y = keras.Input((4,)), keras.Input((4,))
    add = layers.Add()
    add([x, x])
    add([x, y])
    inputs = private.call_inputs(add, 1)
    assert inputs[0] is x and inputs[1] is y


def test_sublayers():
    inner = keras.Sequential([layers.SpectralNormalization(layers.Dense(4, name="d"), name="w")])
    model = keras.Sequential([keras.Input((4,)), inner])
    found = list(private.sublayers(model))
    assert {"w", "d"} <= {layer.name for layer in found}
    assert inner in found and model not in found


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_activation_input(kind, graph):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, kind)])

    def run(x):
        output = model(x, training=False)
        return output, private.activation_input(output)

    output, logits = (tf.function(run) if graph else run)(tf.constant(X))
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(logits, X @ kernel + bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(output, getattr(keras.ops, kind)(logits), atol=1e-6)
    assert private.activation_input(tf.constant(X)) is None


def test_mask_of():
    tokens = np.array([[3, 1, 0], [2, 0, 0]])
    output = layers.Embedding(5, 4, mask_zero=True)(tokens)
    np.testing.assert_array_equal(private.mask_of(output), tokens != 0)
    assert private.mask_of(tf.constant(X)) is None


@pytest.mark.parametrize("build", [functional, sequential])
def test_standardized_inputs(build):
    model = build()
    (flat,) = private.standardized_inputs(model, X.astype("float64"))
    assert flat.dtype == "float32"
    np.testing.assert_allclose(flat, X)
    a, b = keras.Input((4,), name="a"), keras.Input((), name="b")
    named = keras.Model({"b": b, "a": a}, [a, b])
    found = private.standardized_inputs(named, {"a": X, "b": X[:, :1]})
    shapes = [tuple(tensor.shape) for tensor in found]
    assert shapes == [(6, 4), (6,)] and [t.name for t in named.inputs] == ["a", "b"]


def _compiled(**settings):
    model = functional()
    model.compile("sgd", "sparse_categorical_crossentropy", **settings)
    return model


def test_compiled_loss():
    labels, weights = np.array([0, 1, 2, 0, 1, 2]), np.linspace(0.5, 2, 6).astype("float32")
    model = _compiled(loss_weights=2.0)
    outputs = model(X)
    each = -np.log(np.asarray(outputs)[np.arange(6), labels])
    value = private.compiled_loss(model)(labels, outputs, weights)
    assert float(value) == pytest.approx(2 * (each * weights).mean(), rel=1e-4)
    without = functional()
    without.compile("sgd")
    assert private.compiled_loss(without) is None


def test_loss_tracker():
    model = _compiled()
    tracker = private.loss_tracker(model)
    tracker.update_state(3.0, sample_weight=2)
    tracker.update_state(0.0, sample_weight=1)
    assert float(model.get_metrics_result()["loss"]) == pytest.approx(2.0)
    assert any(metric is tracker for metric in model.metrics)


def test_compiled_metrics_and_their_update():
    weighted = [keras.metrics.SparseCategoricalAccuracy(name="weighted")]
    model = _compiled(metrics=["accuracy"], weighted_metrics=weighted)
    compiled = private.compiled_metrics(model)
    assert any(metric is compiled for metric in model.metrics) and not compiled.built
    outputs = model(X)
    labels = np.asarray(outputs).argmax(-1)
    labels[:2] = (labels[:2] + 1) % 3  # two of six are wrong
    present = np.array([0, 1, 1, 1, 1, 1], "float32")
    weights = np.array([0, 3, 1, 1, 1, 1], "float32")
    private.update_metrics(compiled, labels, outputs, present, weights)
    result = compiled.result()
    assert float(result["accuracy"]) == pytest.approx(4 / 5)
    assert float(result["weighted"]) == pytest.approx(4 / 7)
    without = functional()
    without.compile("sgd")
    assert private.compiled_metrics(without) is None


class Plain(private.TrainerModel):
    """The canary of the hooks: notes what Keras's trainer asks of it."""

    compilable = True

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    @property
    def xla_compilable(self):
        return self.compilable

    def call(self, x):
        return self.dense(x)


def test_jit_compile_auto_asks_the_hook(monkeypatch):
    def of_keras(model):
        return True

    monkeypatch.setattr(keras.Model, "_resolve_auto_jit_compile", of_keras)
    for compilable in (True, False):
        model = Plain()
        model.compilable = compilable
        model.compile("sgd", "mse", jit_compile="auto")
        assert model.jit_compile is compilable


def test_symbolic_build_under_a_strategy():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    y = {"labels": np.zeros((6, 3), "float32"), "present": np.ones(6, bool)}

    class Boolean(Plain):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean(keras.ops.square(y["labels"] - y_pred))

    with strategy.scope():
        model = Boolean()
        model.compile("sgd", "mse")
    data = tf.data.Dataset.from_tensor_slices((X, y)).batch(3)
    assert not model.built
    history = model.fit(data, verbose=0).history
    assert np.isfinite(history["loss"][0]) and model.optimizer.iterations == 2


def test_declared_variables_are_those_of_the_model_and_nothing_is_allocated():
    model = functional()
    model.compile("adam", "mse")
    config = keras.saving.serialize_keras_object(model)
    found = private.declared_variables(config)
    assert sorted(shape for _, shape, _ in found) == sorted(tuple(w.shape) for w in model.weights)
    config["config"]["layers"][1]["config"]["units"] = 10**12
    assert (4, 10**12) in [shape for _, shape, _ in private.declared_variables(config)]
    # The next model is made as ever, with the values that the seed gives.
    keras.utils.set_random_seed(1)
    first = functional().get_weights()
    keras.utils.set_random_seed(1)
    private.declared_variables(config)
    for old, new in zip(first, functional().get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_output_shapes_are_those_of_each_call():
    layer = layers.Dense(3)
    layer(keras.Input((4,)))
    layer(keras.Input((2, 4)))
    assert private.output_shapes(layer) == [(None, 3), (None, 2, 3)]


def test_restored_epoch(tmp_path):
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(private.restored_epoch(self.model))

    for epochs in (2, 3):
        model = sequential()
        model.compile("sgd", "mse")
        backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
        model.fit(X, X[:, :3], epochs=epochs, verbose=0, callbacks=[backup, Watch()])
    assert seen == [None, 2]


def test_calls_of_a_graph_come_in_running_order_with_their_arguments():
    inputs = keras.Input((4,))
    dense = layers.Dense(4)
    x = layers.Add()([dense(inputs), dense(inputs * 2.0)])
    calls = private.graph_calls(keras.Model(inputs, x))
    assert [type(call.operation).__name__ for call in calls][-1] == "Add"
    assert sum(call.operation is dense for call in calls) == 2
    ready = {id(inputs)}
    for call in calls:
        assert {id(tensor) for tensor in call.inputs} <= ready
        ready |= {id(tensor) for tensor in call.outputs}
    values = {id(tensor): place for place, tensor in enumerate(calls[-1].inputs)}
    assert calls[-1].arguments(values) == (([0, 1],), {})
    sequential = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    assert len(private.graph_calls(sequential)) == 1


def test_the_structure_of_a_graph():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    model = keras.Model({"a": a, "b": b}, [layers.Add()([a, b])])
    inputs, outputs = private.graph_structure(model)
    assert set(inputs) == {"a", "b"} and outputs[0] is model.outputs[0]


def test_operations_are_named_by_their_class():
    x = keras.ops.relu(keras.Input((4,)))
    assert private.ops_class(private.producer(x)[0]) == "Relu"
    assert private.ops_class(layers.Dense(1)) is None


def test_projections_of_attention():
    attention = layers.MultiHeadAttention(2, 3, use_gate=True)
    attention(keras.Input((5, 4)), keras.Input((5, 4)))
    shapes = {
        role: tuple(part.kernel.shape)
        for role, part in private.attention_projections(attention).items()
    }
    assert shapes == {
        "query": (4, 2, 3),
        "key": (4, 2, 3),
        "value": (4, 2, 3),
        "gate": (4, 2, 3),
        "output": (2, 3, 4),
    }


def test_layers_of_convnext():
    scale, drop = private.convnext_layers()
    layer = scale(1e-6, 4)
    layer.build((None, 4))
    assert layer.gamma.shape == (4,) and layer.get_config()["projection_dim"] == 4
    assert (np.asarray(drop(0.5)(X, training=False)) == X).all()


def test_a_quantized_layer_is_known():
    layer = layers.Dense(2)
    layer.build((None, 4))
    assert not private.is_quantized(layer)
    layer.enable_lora(1)
    assert private.is_quantized(layer)


def test_a_mask_is_attached_and_removed():
    x = tf.constant(X)
    private.set_mask(x, tf.constant([True] * 6))
    assert private.mask_of(x) is not None
    private.set_mask(x, None)
    assert private.mask_of(x) is None
