"""Handlers of layers that do not move channels: activations, dropout, arithmetic, pooling."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_distill._internal._keras_private import GraphCall
from keras_distill.shrink._trace import (
    Channels,
    Handler,
    Role,
    Trace,
    fixed_channels,
    output,
)

L = keras.layers


def names(text: str) -> tuple[str, ...]:
    """Returns the words of a text."""
    return tuple(text.split())


# Functions of keras.activations that compute each output value from a single input value.
ELEMENTWISE = names(
    "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu"
    " linear log_sigmoid mish relu relu6 selu sigmoid silu soft_shrink softplus softsign"
    " sparse_plus sparse_sigmoid squareplus swish tanh tanh_shrink threshold"
)


def activated(trace: Trace, call: GraphCall, channels: Channels) -> list[Channels]:
    """Returns the channels after the layer's own activation.

    A softmax over channels and any unknown function fix the channels, because the result for one
    channel may depend on the others.
    """
    layer = call.operation
    if not keeps_apart(getattr(layer, "activation", None)):
        name = getattr(layer.activation, "__name__", type(layer.activation).__name__)
        trace.unknown(call, [channels], f"its activation {name} may mix channels")
    return [channels]


def keeps_apart(activation: Any) -> bool:
    """Returns whether an activation computes each output value from a single input value."""
    if activation is None:
        return True
    if isinstance(activation, keras.Layer):
        return type(activation) in (L.ReLU, L.LeakyReLU, L.ELU)
    module = getattr(activation, "__module__", "") or ""
    own = module.partition(".")[0] == "keras"
    return own and getattr(activation, "__name__", "") in ELEMENTWISE


def same(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles layers that keep channels in place."""
    return activated(trace, call, inputs[0])


def fixes(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles layers that keep channels in place but have a constant for each, so fix them."""
    trace.fix(inputs[0].ids)
    return [inputs[0]]


def rescaling(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles one scale and offset. Constants per channel fix the channels."""
    layer = call.operation
    per_channel = np.size(layer.scale) > 1 or np.size(layer.offset) > 1
    return fixes(trace, call, inputs) if per_channel else [inputs[0]]


def prelu(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles a slope per channel, shared along `shared_axes`."""
    x, alpha = inputs[0], call.operation.alpha
    if alpha.shape[x.axis - 1] == len(x.ids) > 1:
        trace.slot(call.operation, alpha, x.axis - 1, x.ids, Role.ALONG)
    return [x]


def softmax(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Fixes the channels if the softmax is computed over them."""
    x, axis = inputs[0], call.operation.axis
    axes = axis if isinstance(axis, list | tuple) else [axis]
    if x.axis in [a % len(x.shape) for a in axes if a is not None] or None in axes:
        trace.unknown(call, inputs, "a softmax over channels")
    for mask in inputs[1:]:
        trace.fix(mask.ids)
    return [x]


def pooled(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles spatial layers: pooling, padding, cropping, resizing. `data_format` applies."""
    x = inputs[0]
    axis = channel_axis(call.operation, len(x.shape))
    ids = trace.along(x, axis)
    rank = len(call.outputs[0].shape)
    return [output(call, ids, axis if rank == len(x.shape) else -1)]


def channel_axis(layer: Any, rank: int) -> int:
    """Returns the channel axis given by a layer's `data_format`, by default the last axis."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1


def join(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles Add, Multiply, …: the channels of all operands are joined.

    Axes are aligned on the right, as in NumPy. An operand whose channel axis has size 1 is
    broadcast, so its channels are not joined.
    """
    rank = len(call.outputs[0].shape)
    joined: Channels | None = None
    for x in inputs:
        axis = x.axis + rank - len(x.shape)
        if len(x.shape) != rank and isinstance(call.operation, keras.Layer):
            return trace.unknown(call, inputs, "operands of different rank")
        if len(x.ids) == 1 and (call.outputs[0].shape[axis] or 1) > 1:
            trace.fix(x.ids)
        elif joined is None:
            joined = output(call, x.ids, axis)
        elif joined.axis != axis or len(joined.ids) != len(x.ids):
            return trace.unknown(call, inputs, "operands with channels on different axes")
        else:
            trace.join(joined.ids, x.ids)
    return [joined or fixed_channels(trace, call.outputs[0].shape)]


def concatenate(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Concatenates the ids along the channel axis; along any other axis, joins them."""
    axis = call.operation.axis % len(call.outputs[0].shape)
    if len({x.axis for x in inputs}) > 1:
        return trace.unknown(call, inputs, "operands with channels on different axes")
    if axis == inputs[0].axis:
        return [output(call, np.concatenate([x.ids for x in inputs]), axis)]
    if len({len(x.ids) for x in inputs}) > 1:
        return trace.unknown(call, inputs, "operands with different numbers of channels")
    for x in inputs[1:]:
        trace.join(inputs[0].ids, x.ids)
    return [output(call, inputs[0].ids, inputs[0].axis)]


def binary(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles an operation of `keras.ops` on two tensors, or on a tensor and a constant."""
    if len(inputs) > 1:
        return join(trace, call, inputs)
    arguments = keras.tree.flatten(call.arguments({}))
    if any(np.size(value) > 1 for value in arguments if value is not None):
        return trace.unknown(call, inputs, "an operand is a constant array")
    return [inputs[0]]


def reduced(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles Mean, Max, … over positions. A reduction over channels fixes them."""
    x, axis = inputs[0], call.operation.axis
    rank = len(x.shape)
    given: Sequence[int] = axis if isinstance(axis, list | tuple) else [axis]
    axes = set(range(rank)) if axis is None else {a % rank for a in given}
    if x.axis in axes:
        return trace.unknown(call, inputs, "it reduces over channels")
    before = 0 if call.operation.keepdims else sum(a < x.axis for a in axes)
    return [output(call, x.ids, x.axis - before)]


def _layers(names: str, dimensions: str = "") -> list[type]:
    suffixes = [f"{d}D" for d in dimensions] or [""]
    return [getattr(L, name + suffix) for name in names.split() for suffix in suffixes]


LAYERS: dict[type, Handler] = {
    **dict.fromkeys(
        _layers(
            "Activation ReLU LeakyReLU ELU Dropout GaussianNoise GaussianDropout AlphaDropout"
            " ActivityRegularization Identity"
        )
        + _layers("SpatialDropout", "123"),
        same,
    ),
    **dict.fromkeys(
        _layers(
            "MaxPooling AveragePooling GlobalMaxPooling GlobalAveragePooling AdaptiveMaxPooling"
            " AdaptiveAveragePooling ZeroPadding UpSampling Cropping",
            "123",
        )
        + _layers("Resizing CenterCrop"),
        pooled,
    ),
    **dict.fromkeys(_layers("Add Subtract Multiply Average Maximum Minimum"), join),
    **dict.fromkeys(_layers("Normalization Masking"), fixes),
    L.Concatenate: concatenate,
    L.PReLU: prelu,
    L.Rescaling: rescaling,
    L.Softmax: softmax,
}

OPS: dict[str, Handler] = {
    **dict.fromkeys(
        names(
            "Relu Relu6 LeakyRelu Elu Selu Celu Silu Gelu Sigmoid LogSigmoid HardSigmoid HardSilu"
            " SparseSigmoid SparsePlus Squareplus SoftShrink HardShrink TanhShrink HardTanh"
            " Threshold Tanh Softplus Softsign Exp Expm1 Log Log1p Sqrt Rsqrt Square Absolute"
            " Negative Reciprocal Sign Sin Cos Erf Cast StopGradient Copy Floor Ceil Round"
        ),
        same,
    ),
    **dict.fromkeys(
        names("Add Subtract Multiply Divide TrueDivide DivideNoNan Maximum Minimum Power Clip"),
        binary,
    ),
    **dict.fromkeys(names("Mean Sum Max Min Amax Amin Prod Var Std"), reduced),
    **dict.fromkeys(names("MaxPool AveragePool Resize"), pooled),
    "Concatenate": concatenate,
    "Softmax": softmax,
    "LogSoftmax": softmax,
}
