"""Wrong handlers, broken on purpose, are caught: each builds a network of the right shapes."""

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill.shrink import Role, _acceptance, _handlers, analyze
from keras_distill.shrink._trace import output, variables_by_name

L = keras.layers


def _cnn():
    return keras.Sequential(
        [keras.Input((5, 5, 2)), L.Conv2D(8, 3, activation="relu"), L.Flatten(), L.Dense(3)]
    )


def _residual():
    inputs = keras.Input((6, 6, 2))
    x = L.Conv2D(8, 3, padding="same")(inputs)
    x = L.Add()([x, L.Conv2D(8, 3, padding="same", activation="relu")(x)])
    return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x)))


def _lstm():
    return keras.Sequential([keras.Input((5, 4)), L.LSTM(8), L.Dense(3)])


def _attention():
    inputs = keras.Input((5, 8))
    x = L.LayerNormalization()(L.Dense(16)(inputs))
    return keras.Model(inputs, L.Dense(3)(L.MultiHeadAttention(4, 8)(x, x)))


def _softmax():
    """Its outputs show no difference: one class always has probability 1."""
    model = _cnn()
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 1e-3)
    model.layers[-1].bias.assign([100.0, 0.0, 0.0])
    return keras.Sequential([keras.Input((5, 5, 2)), *model.layers, L.Softmax()])


def _flatten_channels_first(trace, call, inputs):
    ids, positions = inputs[0].ids, inputs[0].positions
    return [output(call, np.repeat(ids, positions))]


def _add_without_join(trace, call, inputs):
    return [inputs[0]]


def _gates_interleaved(trace, call, inputs):
    layer, weights = call.operation, variables_by_name(call.operation)
    made = trace.own(layer, "units", layer.units)
    trace.slot(layer, weights["kernel"], 0, trace.along(inputs[0]), Role.IN)
    trace.slot(layer, weights["recurrent_kernel"], 0, made, Role.IN)
    for name in ("kernel", "recurrent_kernel", "bias"):
        trace.slot(layer, weights[name], -1, np.repeat(made, 4), Role.OUT)
    trace.setting(layer, "units", made)
    return [output(call, made)]


def _heads_without_scale(trace, call, inputs):
    results = _handlers.LAYERS[L.MultiHeadAttention](trace, call, inputs)
    trace.rescaled.clear()
    return results


def _depends_on_all(trace, call, inputs):
    """Takes a normalization over channels for one per channel."""
    layer = call.operation
    for variable in layer.weights:
        trace.slot(layer, variable, 0, inputs[0].ids, Role.ALONG)
    return [inputs[0]]


@pytest.mark.parametrize(
    ("network", "layer", "wrong"),
    [
        (_cnn, L.Flatten, _flatten_channels_first),
        (_softmax, L.Flatten, _flatten_channels_first),
        (_residual, L.Add, _add_without_join),
        (_lstm, L.LSTM, _gates_interleaved),
        (_attention, L.MultiHeadAttention, _heads_without_scale),
        (_attention, L.LayerNormalization, _depends_on_all),
    ],
)
def test_a_wrong_handler_is_caught(network, layer, wrong, monkeypatch):
    model = network()
    assert kd.shrink(model, width=0.5, multiple=4) is not None
    monkeypatch.setitem(_handlers.REGISTERED, layer, wrong)
    with pytest.raises(kd.VerificationError, match=f"from layer .*{layer.__name__}"):
        kd.shrink(model, width=0.5, multiple=4)


def test_a_wrong_axis_is_an_error_with_the_layer(monkeypatch):
    def transposed(trace, call, inputs):
        layer, kernel = call.operation, call.operation.kernel
        made = trace.own(layer, "units", layer.units)
        trace.slot(layer, kernel, 1, made, Role.OUT)
        trace.setting(layer, "units", made)
        return [output(call, made)]

    monkeypatch.setitem(_handlers.REGISTERED, L.Dense, transposed)
    model = keras.Sequential([keras.Input((4,)), L.Dense(8, name="a"), L.Dense(3)])
    with pytest.raises(kd.InputError, match=r"'a' \(Dense\): bias is built with shape"):
        kd.shrink(model, width=0.5)


@keras.saving.register_keras_serializable("tests")
class Forgetful(L.Layer):
    """Its config lacks an argument, so that a copy differs."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return super().get_config()


def test_a_layer_that_does_not_restore_itself_is_caught():
    model = keras.Sequential(
        [keras.Input((4,)), L.Dense(8), Forgetful(2.0), L.Dense(8), L.Dense(2)]
    )
    with pytest.raises(kd.VerificationError, match="does not restore itself from its config"):
        kd.shrink(model, width=0.5)


def test_the_first_wrong_layer_is_named():
    analysis = analyze(_cnn())
    keep = analysis.all()
    keep[analysis.groups[0].units[4:]] = False
    narrow = _acceptance.rebuild(analysis, keep)
    narrow.model.layers[-1].bias.assign([1.0, 2.0, 3.0])
    with pytest.raises(kd.VerificationError, match=f"from layer '{narrow.model.layers[-1].name}'"):
        _acceptance.accept(analysis, keep, narrow)
