"""Every kind of network is made narrower, and the result is right.

`kd.shrink` compares each result itself, tensor by tensor, and raises an error if it is wrong; its
check is tested in `test_acceptance.py`. The tests here say how much each network shrinks.
"""

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill._internal._keras_private import convnext_layers

L = keras.layers
ops = keras.ops


def _dense(x, units=16, activation="relu"):
    return L.Dense(units, activation)(x)


def _randomized(model):
    """Gives every variable values that differ, so that no order of channels goes unnoticed."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if "float" in variable.dtype:
            value = rng.normal(size=variable.shape) / np.sqrt(max(1, variable.shape[0]))
            variable.assign(np.abs(value) + 0.1 if "variance" in variable.name else value)
    return model


def flatten():
    x = inputs = keras.Input((6, 6, 2))
    x = L.Conv2D(8, 3, activation="relu")(x)
    x = L.MaxPooling2D()(x)
    return keras.Model(inputs, L.Dense(3)(L.Flatten()(x)))


def residual():
    inputs = keras.Input((6, 6, 2))
    x = L.Conv2D(8, 3, padding="same", use_bias=False)(inputs)
    y = L.Conv2D(8, 3, padding="same")(L.ReLU()(L.BatchNormalization()(x)))
    x = L.Add()([x, y])
    y = L.Conv2D(8, 1)(L.PReLU(shared_axes=[1, 2])(x))
    x = x + y
    return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x)))


def dense_net():
    inputs = keras.Input((6, 6, 2))
    x = L.Conv2D(8, 3, padding="same")(inputs)
    for _ in range(3):
        y = L.Conv2D(4, 3, padding="same")(L.ReLU()(L.BatchNormalization()(x)))
        x = L.Concatenate()([x, y])
    return keras.Model(inputs, L.Dense(3)(L.GlobalMaxPooling2D()(x)))


def u_net():
    inputs = keras.Input((8, 8, 3))
    a = L.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    b = L.Conv2D(16, 3, padding="same", activation="relu")(L.MaxPooling2D()(a))
    up = L.Conv2DTranspose(8, 2, strides=2)(b)
    x = L.Conv2D(8, 3, padding="same", activation="relu")(L.Concatenate()([a, up]))
    return keras.Model(inputs, L.Conv2D(2, 1)(x))


def separable():
    inputs = keras.Input((8, 8, 3))
    x = L.SeparableConv2D(8, 3, depth_multiplier=2, activation="relu")(inputs)
    x = L.DepthwiseConv2D(3, depth_multiplier=2)(x)
    squeezed = L.Dense(4, "relu")(L.GlobalAveragePooling2D(keepdims=True)(x))
    x = L.Multiply()([x, L.Dense(16, "hard_sigmoid")(squeezed)])
    x = L.UpSampling2D()(L.ZeroPadding2D()(x))
    return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x)))


def grouped():
    inputs = keras.Input((6, 6, 3))
    x = L.Conv2D(16, 3)(inputs)
    x = L.Conv2D(32, 3, groups=4)(x)
    x = L.GroupNormalization(8)(x)
    x = L.GroupNormalization(2)(x)
    return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x)))


def transformer():
    tokens = keras.Input((5,), dtype="int32")
    x = L.Embedding(7, 16, mask_zero=True)(tokens)
    y = L.MultiHeadAttention(4, 4)(L.LayerNormalization()(x), L.LayerNormalization()(x))
    x = L.Add()([x, y])
    y = L.Dense(16)(L.Dense(32, "gelu")(L.RMSNormalization()(x)))
    x = L.Add()([x, y])
    y = L.GroupQueryAttention(4, 4, 2)(x, x)
    x = L.UnitNormalization()(x + y)
    return keras.Model(tokens, L.Dense(3)(x[:, 0]))


def cross_attention():
    a, b = keras.Input((5, 6), name="a"), keras.Input((4, 6), name="b")
    x, y = L.Dense(16)(a), L.Dense(24)(b)
    attend = L.MultiHeadAttention(2, 8, value_dim=6, use_bias=False, output_shape=12)
    z, scores = attend(x, y, return_attention_scores=True)
    return keras.Model([a, b], [L.Dense(3)(z), scores])


def recurrent():
    inputs = keras.Input((7, 4))
    x = L.Conv1D(16, 3, padding="causal")(inputs)
    x = L.Bidirectional(L.GRU(8, return_sequences=True))(x)
    x = L.LSTM(8, return_sequences=True)(x)
    x = L.TimeDistributed(L.Dense(16, "relu"))(x)
    x = L.Bidirectional(L.LSTM(8), merge_mode="sum")(x)
    return keras.Model(inputs, L.Dense(3)(x))


def sequence_to_sequence():
    source, target = keras.Input((None, 4)), keras.Input((6, 4))
    _, *states = L.LSTM(8, return_state=True)(source)
    x = L.LSTM(8, return_sequences=True)(target, initial_state=states)
    x = L.SimpleRNN(8)(x, initial_state=states[0])
    return keras.Model([source, target], L.Dense(3)(x))


def nested():
    inner = keras.Sequential([keras.Input((8,)), L.Dense(16, "relu"), L.Dense(8)], name="inner")
    a, b = keras.Input((4,), name="a"), keras.Input((8,), name="b")
    two = keras.Model([a, b], L.Add()([L.Dense(8)(a), L.Dense(8)(b)]), name="two")
    inputs = keras.Input((4,))
    x = L.Dense(8, "relu")(inputs)
    x = two([inputs, inner(x)])
    return keras.Model(inputs, L.Dense(3)(inner(x)))


def shared():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    one, two = L.Dense(16, "relu"), L.Dense(16, "relu")
    x = L.Subtract()([two(one(a)), two(one(b))])
    return keras.Model({"a": a, "b": b}, {"y": L.Dense(3)(x), "z": L.Dense(2)(one(a))})


def sequential():
    return keras.Sequential(
        [keras.Input((6, 4)), L.Conv1D(8, 3), L.BatchNormalization(), L.Flatten(), L.Dense(3)]
    )


def with_ops():
    inputs = keras.Input((4, 6, 3))
    x = ops.relu(L.Conv2D(8, 3, padding="same")(inputs))
    x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = ops.transpose(x, (0, 3, 1, 2))
    x = ops.reshape(x, (-1, 8, 6 * 8))
    x = ops.mean(x, axis=2, keepdims=True) * 2.0 - 1.0
    a, b = ops.split(L.Dense(16)(L.Flatten()(x)), 2, axis=-1)
    c, d, e = ops.split(L.Dense(16)(a * b), [4, 12], axis=-1)
    x = ops.concatenate([c, e], axis=-1) + d[..., ::-1]
    x = ops.expand_dims(x, 1) / ops.sqrt(ops.square(ops.expand_dims(a, 1)) + 1.0)
    return keras.Model(inputs, L.Dense(3)(ops.squeeze(x, 1)))


def shuffled():
    inputs = keras.Input((4, 4, 3))
    x = L.Conv2D(16, 3, padding="same")(inputs)
    x = L.Reshape((4, 4, 2, 8))(x)
    x = L.Reshape((4, 4, 16))(L.Permute((1, 2, 4, 3))(x))
    x = L.DepthwiseConv2D(3)(x)
    return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x)))


def einsum():
    inputs = keras.Input((5, 6))
    x = L.EinsumDense("abc,cd->abd", (5, 16), bias_axes="d", activation="relu")(inputs)
    x = L.EinsumDense("...x,xy->...y", 8)(x)
    x = L.EinsumDense("abc,bc->abc", (5, 8))(x)
    x = L.EinsumDense("abc,cde->abde", (5, 2, 4), bias_axes="de")(x)
    return keras.Model(inputs, L.Dense(3)(L.Flatten()(x)))


def channels_first():
    inputs = keras.Input((2, 6, 6))
    first = {"data_format": "channels_first"}
    x = L.Conv2D(8, 3, padding="same", **first)(inputs)
    x = L.BatchNormalization(axis=1)(x)
    x = L.Flatten(**first)(L.ZeroPadding2D(**first)(x))
    return keras.Model(inputs, L.Dense(3)(x))


def time_distributed():
    inputs = keras.Input((4, 6, 6, 2))
    x = L.TimeDistributed(L.Conv2D(8, 3, activation="relu"))(inputs)
    x = L.TimeDistributed(L.BatchNormalization())(x)
    x = L.TimeDistributed(L.Flatten())(x)
    return keras.Model(inputs, L.Dense(3)(L.LSTM(8)(x)))


def conv_next():
    scale, drop = convnext_layers()
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(16, 2, strides=2)(inputs)
    y = L.LayerNormalization()(L.Conv2D(16, 3, padding="same", groups=16)(x))
    y = L.Dense(16)(L.Dense(32, "gelu")(y))
    x = L.Add()([x, drop(0.1)(scale(1.0, 16)(y))])
    return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x)))


# Network -> the largest share of its parameters that half the width may have.
NETWORKS = {
    flatten: 0.55,
    residual: 0.40,
    dense_net: 0.40,
    u_net: 0.35,
    separable: 0.50,
    grouped: 0.51,
    transformer: 0.40,
    cross_attention: 0.60,
    recurrent: 0.45,
    sequence_to_sequence: 0.45,
    nested: 0.45,
    shared: 0.45,
    sequential: 0.60,
    with_ops: 0.60,
    shuffled: 0.55,
    einsum: 0.50,
    channels_first: 0.60,
    time_distributed: 0.40,
    conv_next: 0.40,
}


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_half_the_width(network):
    model, records = _randomized(network()), []
    before = [w.copy() for w in model.get_weights()]
    student = kd.shrink(model, width=0.5, multiple=4, report=records.append)
    (record,) = records
    assert record.fixed == ()
    assert all(group.kept < group.units for group in record.groups)
    assert student.count_params() / model.count_params() <= NETWORKS[network]
    assert student.count_params() == record.parameters_after
    assert record.unchanged_difference == 0
    assert record.removed_difference < 1e-5
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
    shapes = [[tensor.shape for tensor in m.outputs] for m in (model, student)]
    assert shapes[0] == shapes[1]


# Model spec -> shape of an example, and the largest share of parameters.
FAMILIES = {
    "mlp:32x32": ((8, 8, 1), 0.50),
    "resnet:8": ((12, 12, 3), 0.30),
    "wrn:10-1": ((12, 12, 3), 0.30),
    "dscnn?blocks=2": ((12, 12, 1), 0.40),
    "applications:MobileNetV3Small": ((32, 32, 3), 0.30),
}


@pytest.mark.parametrize("spec", FAMILIES)
def test_half_the_width_of_each_family(spec):
    shape, share = FAMILIES[spec]
    model = kd.models.build(spec, input_shape=shape, num_classes=10, seed=0)
    records = []
    student = kd.shrink(_randomized(model), width=0.5, report=records.append)
    assert records[0].fixed == () and records[0].inexact == ()
    assert student.count_params() / model.count_params() <= share


def test_there_is_an_example_of_each_family():
    names = {spec.partition(":")[0].partition("?")[0] for spec in FAMILIES}
    assert names == {form.partition(":")[0] for form in kd.models.families()}
