"""Handlers of convolutions: plain, grouped, transposed, depthwise, and separable."""

import keras
import numpy as np

from keras_distill._internal._keras_private import GraphCall
from keras_distill.shrink._handlers_elementwise import activated, channel_axis
from keras_distill.shrink._trace import (
    Channels,
    Handler,
    Role,
    Trace,
    output,
    variables_by_name,
)

L = keras.layers


def conv(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Kernel `(..., in / groups, filters)`, bias `(filters,)`.

    For a grouped convolution, whole groups are removed, with their inputs and outputs.
    """
    layer, weights, x = call.operation, variables_by_name(call.operation), inputs[0]
    axis = channel_axis(layer, len(x.shape))
    read, made = trace.along(x, axis), trace.own(layer, "filters", layer.filters)
    groups = layer.groups
    if groups == 1:
        trace.slot(layer, weights["kernel"], -2, read, Role.IN)
    else:
        matrix = np.concatenate([read.reshape(groups, -1), made.reshape(groups, -1)], axis=1)
        trace.join_rows(matrix)
        per_group = len(read) // groups
        if matrix.shape[1] > 2:  # otherwise it is a depthwise convolution
            trace.whole(made)
        trace.setting(layer, "groups", read, per=per_group)
    trace.slot(layer, weights["kernel"], -1, made, Role.OUT)
    trace.slot(layer, weights.get("bias"), 0, made, Role.ALONG)
    trace.setting(layer, "filters", made)
    result = output(call, made, axis)
    trace.count_macs(layer, weights["kernel"], result.positions)
    return activated(trace, call, result)


def conv_transpose(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Kernel `(..., filters, in)`, bias `(filters,)`."""
    layer, weights, x = call.operation, variables_by_name(call.operation), inputs[0]
    axis = channel_axis(layer, len(x.shape))
    read, made = trace.along(x, axis), trace.own(layer, "filters", layer.filters)
    trace.slot(layer, weights["kernel"], -1, read, Role.IN)
    trace.slot(layer, weights["kernel"], -2, made, Role.OUT)
    trace.slot(layer, weights.get("bias"), 0, made, Role.ALONG)
    trace.setting(layer, "filters", made)
    trace.count_macs(layer, weights["kernel"], Channels(x.shape, axis, read).positions)
    return activated(trace, call, output(call, made, axis))


def depthwise(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Kernel `(..., in, multiplier)`; output channel c * multiplier + j comes from input c."""
    layer, weights, x = call.operation, variables_by_name(call.operation), inputs[0]
    axis = channel_axis(layer, len(x.shape))
    read = trace.along(x, axis)
    made = np.repeat(read, layer.depth_multiplier)
    trace.slot(layer, weights["kernel"], -2, read, Role.ALONG)
    trace.slot(layer, weights.get("bias"), 0, made, Role.ALONG)
    result = output(call, made, axis)
    trace.count_macs(layer, weights["kernel"], result.positions)
    return activated(trace, call, result)


def separable(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """A depthwise kernel `(..., in, multiplier)`, then a pointwise one `(..., in * multiplier,
    filters)`."""
    layer, weights, x = call.operation, variables_by_name(call.operation), inputs[0]
    axis = channel_axis(layer, len(x.shape))
    read, made = trace.along(x, axis), trace.own(layer, "filters", layer.filters)
    between = np.repeat(read, layer.depth_multiplier)
    trace.slot(layer, weights["depthwise_kernel"], -2, read, Role.ALONG)
    trace.slot(layer, weights["pointwise_kernel"], -2, between, Role.IN)
    trace.slot(layer, weights["pointwise_kernel"], -1, made, Role.OUT)
    trace.slot(layer, weights.get("bias"), 0, made, Role.ALONG)
    trace.setting(layer, "filters", made)
    result = output(call, made, axis)
    for kernel in ("depthwise_kernel", "pointwise_kernel"):
        trace.count_macs(layer, weights[kernel], result.positions)
    return activated(trace, call, result)


LAYERS: dict[type, Handler] = {
    **dict.fromkeys([L.Conv1D, L.Conv2D, L.Conv3D], conv),
    **dict.fromkeys([L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose], conv_transpose),
    **dict.fromkeys([L.DepthwiseConv1D, L.DepthwiseConv2D], depthwise),
    **dict.fromkeys([L.SeparableConv1D, L.SeparableConv2D], separable),
}
