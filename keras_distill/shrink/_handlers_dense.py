"""Handlers of Dense, EinsumDense, and Embedding."""

import math
from typing import Any

import keras

from keras_distill._internal._keras_private import GraphCall
from keras_distill._internal._types import Array
from keras_distill.shrink._handlers_elementwise import activated
from keras_distill.shrink._trace import (
    Channels,
    Count,
    Handler,
    Role,
    Trace,
    fixed_channels,
    output,
    variables_by_name,
)

L = keras.layers


def dense(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Kernel `(in, units)`, bias `(units,)`."""
    layer, weights = call.operation, variables_by_name(call.operation)
    read, made = trace.along(inputs[0]), trace.own(layer, "units", layer.units)
    trace.slot(layer, weights["kernel"], 0, read, Role.IN)
    trace.slot(layer, weights["kernel"], 1, made, Role.OUT)
    trace.slot(layer, weights.get("bias"), 0, made, Role.ALONG)
    trace.setting(layer, "units", made)
    result = output(call, made)
    trace.count_macs(layer, weights["kernel"], result.positions)
    return activated(trace, call, result)


def embedding(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Table `(entries, units)`. Its input has indices, not channels."""
    layer = call.operation
    trace.fix(inputs[0].ids)
    made = trace.own(layer, "units", layer.output_dim)
    trace.slot(layer, variables_by_name(layer)["embeddings"], 1, made, Role.OUT)
    trace.setting(layer, "output_dim", made)
    return [output(call, made)]


def einsum_dense(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """A kernel that the layer's equation applies, such as "abc,cd->abd" or "...x,xy->...y".

    One axis of the tensor has channels. If the output also has this axis, its channels pass
    through, and the channels that the kernel produces are fixed. Otherwise, the produced channels
    are on the last axis that only the kernel and the output have.
    """
    layer, x, weights = call.operation, inputs[0], variables_by_name(call.operation)
    if "..." in layer.equation.partition(",")[0][1:]:
        return trace.unknown(call, inputs, f"its equation {layer.equation}")
    read, kernel, made = _letters(layer.equation, len(x.shape))
    variable, letter = weights["kernel"], read[x.axis]
    trace.count_macs(layer, variable, _positions(x, read, kernel))
    if letter in made:
        if letter in kernel:
            trace.slot(layer, variable, kernel.index(letter), x.ids, Role.ALONG)
        return _made(trace, call, letter, made, x.ids)
    if letter not in kernel:
        return trace.unknown(call, inputs, "it sums over channels")
    trace.slot(layer, variable, kernel.index(letter), x.ids, Role.IN)
    new = [c for c in made if c in kernel and c not in read]
    if not new:
        return [fixed_channels(trace, call.outputs[0].shape)]
    place = kernel.index(new[-1])
    ids = trace.own(layer, "units", variable.shape[place])
    trace.slot(layer, variable, place, ids, Role.OUT)
    return _made(trace, call, new[-1], made, ids)


def _letters(equation: str, rank: int) -> tuple[str, str, str]:
    """Returns one character per axis of input, kernel, and output, with digits for "...".

    Example:
        >>> _letters("...x,xy->...y", 3)
        ('01x', 'xy', '01y')
    """
    left, made = equation.replace(" ", "").split("->")
    read, kernel = left.split(",")
    more = "".join(str(i) for i in range(rank - len(read) + 3))
    return read.replace("...", more), kernel, made.replace("...", more)


def _positions(x: Channels, read: str, kernel: str) -> int:
    """Returns how often each kernel entry is used per example."""
    sizes = [n or 1 for n in x.shape]
    return math.prod(n for n, c in zip(sizes[1:], read[1:], strict=True) if c not in kernel)


def _made(trace: Trace, call: GraphCall, letter: str, made: str, ids: Array) -> list[Channels]:
    """Handles `output_shape` (a number, or the sizes of the last axes), bias, and output."""
    layer, bias = call.operation, variables_by_name(call.operation).get("bias")
    place = made.index(letter) - len(made)

    def change(config: dict[str, Any], count: Count) -> None:
        shape = config["output_shape"]
        sizes = [shape] if isinstance(shape, int) else list(shape)
        if len(sizes) >= -place and sizes[place] is not None:
            sizes[place] = count(ids)
        config["output_shape"] = sizes

    trace.edit(layer, "output_shape", change)
    if bias is not None and letter in layer.bias_axes:
        # The bias starts at the first axis named in `bias_axes`.
        first = min(made.index(c) for c in layer.bias_axes)
        trace.slot(layer, bias, made.index(letter) - first, ids, Role.ALONG)
    return activated(trace, call, output(call, ids, made.index(letter)))


LAYERS: dict[type, Handler] = {
    L.Dense: dense,
    L.EinsumDense: einsum_dense,
    L.Embedding: embedding,
}
