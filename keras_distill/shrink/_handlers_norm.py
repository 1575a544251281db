"""Handlers of normalization layers."""

from typing import Any

import keras
import numpy as np

from keras_distill._internal._keras_private import GraphCall, convnext_layers
from keras_distill._internal._types import Array
from keras_distill.shrink._handlers_elementwise import same
from keras_distill.shrink._trace import Channels, Count, Handler, Role, Trace

L = keras.layers

# With at least this many groups, whole groups are removed, so that the statistics of the other
# groups do not change. With fewer groups, all are kept, and each loses the same number of channels.
_WHOLE_GROUPS = 4


def batch_norm(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Scale, offset, mean, and variance per channel."""
    ids = _parameters(trace, call, inputs[0])
    if ids is None:
        return trace.unknown(call, inputs, "its weights have more than the channel axis")
    return [Channels(inputs[0].shape, call.operation.axis % len(inputs[0].shape), ids)]


def layer_norm(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Scale and offset per channel; statistics over all channels."""
    ids = _parameters(trace, call, inputs[0])
    if ids is None:
        return trace.unknown(call, inputs, "it normalizes over several axes")
    trace.mixes(call.operation, ids)
    return [Channels(inputs[0].shape, _axis(call.operation) % len(inputs[0].shape), ids)]


def group_norm(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Scale and offset per channel; statistics over the channels of a group."""
    layer = call.operation
    ids = _parameters(trace, call, inputs[0])
    if ids is None:
        return trace.unknown(call, inputs, "its weights have more than the channel axis")
    groups = len(ids) if layer.groups == -1 else layer.groups
    if groups >= _WHOLE_GROUPS:
        rows = ids.reshape(groups, -1)
        trace.join_rows(rows)
        if rows.shape[1] > 1:
            trace.whole(ids)
        trace.edit(layer, "groups", _fewer_groups(ids, rows.shape[1]))
    else:
        trace.join_rows(ids.reshape(groups, -1).T)
        trace.mixes(layer, ids)
    return [Channels(inputs[0].shape, layer.axis % len(inputs[0].shape), ids)]


def _fewer_groups(ids: Array, per_group: int) -> Any:
    def change(config: dict[str, Any], count: Count) -> None:
        if config["groups"] != -1:  # -1: each channel is a group
            config["groups"] = count(ids) // per_group

    return change


def unit_norm(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """No weights. A normalization over channels mixes them."""
    x, axis = inputs[0], call.operation.axis
    axes = axis if isinstance(axis, list | tuple) else [axis]
    if x.axis in [a % len(x.shape) for a in axes]:
        trace.mixes(call.operation, x.ids)
    return [x]


def _axis(layer: Any) -> int:
    axis = layer.axis
    return axis[0] if isinstance(axis, list | tuple) else axis


def _parameters(trace: Trace, call: GraphCall, x: Channels) -> Array | None:
    """Assigns one weight per channel; None if the layer has weights of another shape."""
    layer = call.operation
    if isinstance(layer.axis, list | tuple) and len(layer.axis) != 1:
        return None
    ids = trace.along(x, _axis(layer))
    if any(tuple(variable.shape) != (len(ids),) for variable in layer.weights):
        return None
    for variable in layer.weights:
        trace.slot(layer, variable, 0, ids, Role.ALONG)
    return np.asarray(ids)


def layer_scale(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """A factor per channel of the last axis."""
    ids = trace.along(inputs[0])
    trace.slot(call.operation, call.operation.gamma, 0, ids, Role.ALONG)
    trace.setting(call.operation, "projection_dim", ids)
    return [inputs[0]]


_SCALE, _STOCHASTIC_DEPTH = convnext_layers()

LAYERS: dict[type, Handler] = {
    _SCALE: layer_scale,
    _STOCHASTIC_DEPTH: same,
    L.BatchNormalization: batch_norm,
    L.LayerNormalization: layer_norm,
    L.RMSNormalization: layer_norm,
    L.GroupNormalization: group_norm,
    L.UnitNormalization: unit_norm,
}
