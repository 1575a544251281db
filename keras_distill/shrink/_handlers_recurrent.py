"""Handlers of LSTM, GRU, SimpleRNN, and of the wrappers Bidirectional and TimeDistributed."""

from typing import Any

import keras
import numpy as np

from keras_distill._internal._keras_private import GraphCall
from keras_distill._internal._types import Array
from keras_distill.shrink._trace import (
    Channels,
    Handler,
    Role,
    Trace,
    bound_arguments,
    output,
    symbolic_like,
    variables_by_name,
)

L = keras.layers

_GATES = {L.LSTM: 4, L.GRU: 3, L.SimpleRNN: 1}


def recurrent(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Kernel `(in, gates * units)`, recurrent kernel `(units, gates * units)`, gate by gate."""
    layer = call.operation
    if layer.stateful:
        return trace.unknown(call, inputs, "it is stateful")
    made = trace.own(layer, "units", layer.units)
    given = bound_arguments(call, inputs)
    _cell(trace, layer, given["sequences"], made)
    for state in keras.tree.flatten(given.get("initial_state")):
        if isinstance(state, Channels):
            trace.join(trace.along(state), made)
    _fix_mask(trace, given)
    return [output(call, made, index=index) for index in range(len(call.outputs))]


def _cell(trace: Trace, layer: Any, x: Channels, made: Array) -> None:
    gates = np.tile(made, _GATES[type(layer)])
    weights, steps = variables_by_name(layer), x.shape[1] or 1
    trace.slot(layer, weights["kernel"], 0, trace.along(x), Role.IN)
    trace.slot(layer, weights["kernel"], 1, gates, Role.OUT)
    trace.slot(layer, weights["recurrent_kernel"], 0, made, Role.IN)
    trace.slot(layer, weights["recurrent_kernel"], 1, gates, Role.OUT)
    trace.slot(layer, weights.get("bias"), -1, gates, Role.ALONG)  # GRU: (2, gates * units)
    trace.setting(layer, "units", made)
    trace.count_macs(layer, weights["kernel"], steps)
    trace.count_macs(layer, weights["recurrent_kernel"], steps)


def _fix_mask(trace: Trace, given: dict[str, Any]) -> None:
    if isinstance(given.get("mask"), Channels):
        trace.fix(given["mask"].ids)


def bidirectional(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Two recurrent layers with equal numbers of units: unit i is removed in both directions."""
    layer = call.operation
    forward, backward = layer.forward_layer, layer.backward_layer
    given = bound_arguments(call, inputs)
    if type(forward) not in _GATES or type(forward) is not type(backward):
        return trace.unknown(call, inputs, f"it wraps {type(forward).__name__}")
    if layer.stateful or layer.return_state or given.get("initial_state") is not None:
        return trace.unknown(call, inputs, "it takes or returns states, or keeps them")
    if forward.units != backward.units:
        return trace.unknown(call, inputs, "its directions have different numbers of units")
    made = trace.own(layer, "units", forward.units)
    _cell(trace, forward, given["sequences"], made)
    _cell(trace, backward, given["sequences"], made)
    _fix_mask(trace, given)
    trace.wrap(layer, "layer", forward)
    trace.wrap(layer, "backward_layer", backward)
    ids = np.tile(made, 2) if layer.merge_mode == "concat" else made
    return [output(call, ids, index=index) for index in range(len(call.outputs))]


def time_distributed(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles the inner layer, on tensors without the time axis."""
    from keras_distill.shrink._handlers import handler_of

    layer, x = call.operation, inputs[0]
    inner = layer.layer
    handler = handler_of(inner)
    if handler is None or type(inner) in LAYERS or len(inputs) > 1 or x.axis == 1:
        return trace.unknown(call, inputs, f"it wraps {type(inner).__name__}")
    step = _InnerCall(
        inner,
        [symbolic_like(_without_time(t.shape), t.dtype) for t in call.inputs],
        [symbolic_like(_without_time(t.shape), t.dtype) for t in call.outputs],
        None,
    )
    with trace.repeated(x.shape[1] or 1):
        results = handler(
            trace, step, [Channels(_without_time(x.shape), max(0, x.axis - 1), x.ids)]
        )
    trace.wrap(layer, "layer", inner)
    return [output(call, y.ids, y.axis + 1) for y in results]


class _InnerCall(GraphCall):
    """A call of the inner layer, which takes one tensor."""

    def arguments(self, values: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Returns the only argument."""
        return (values[id(self.inputs[0])],), {}


def _without_time(shape: Any) -> tuple[int | None, ...]:
    return (shape[0], *shape[2:])


LAYERS: dict[type, Handler] = {
    **dict.fromkeys(_GATES, recurrent),
    L.Bidirectional: bidirectional,
    L.TimeDistributed: time_distributed,
}
