"""Corrects the biases of a quantized file for the shift that its rounded weights cause.

Rounding changes the weights of an operator by dW, and therefore the mean of its output by
Σ dW · E[x], where E[x] is the mean of its input. The shift is large if the inputs are far from 0,
as pixels are. Subtracting it from the bias costs no bytes and no time. Source: Nagel et al. 2019,
"Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv:1906.04721, section
4.2. Here the means are measured.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flatbuffers
import numpy as np

from keras_distill._internal._types import Array
from keras_distill.litert._metadata import unpacked
from keras_distill.litert._parser import Graph, read_graph
from keras_distill.litert._subgraph import Tensor

# Operator -> the axis of the output channels in the shape of its weights.
_AXIS = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}
_BITS = {"int8": 8, "int4": 4}
_ROTATED = 0.5  # change / weights, in mean squares; rounding changes weights less than this


class _Weighted(NamedTuple):
    """An operator with constant weights and a constant bias.

    Attributes:
        kind: The name of the operator.
        place: Its position in the main graph.
        x: The index of its input tensor.
        weights: The weights. If the file decodes them, this is the stored tensor.
    """

    kind: str
    place: int
    x: int
    weights: Tensor


def input_means(path: str, rows: Sequence[Mapping[str, Array]]) -> list[Array | None]:
    """Measures the mean input, per channel, of each operator with constant weights and bias.

    Args:
        path: The float32 file.
        rows: The inputs of each call, by input name; at least one call.

    Returns:
        The means, in the order of the operators, each float64 `(channels,)`.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter: Any = Interpreter(
        path,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    weighted = list(_weighted(read_graph(path)))
    sums: list[Any] = [0.0] * len(weighted)
    for row in rows:
        runner(**row)
        for place, op in enumerate(weighted):
            x = interpreter.get_tensor(op.x)
            sums[place] += x.reshape(-1, x.shape[-1]).mean(axis=0, dtype=np.float64)
    return [total / len(rows) for total in sums]


def correct_biases(source: str, path: str, means: Sequence[Array | None]) -> int:
    """Corrects the biases of a quantized file, in place.

    A bias is changed only if the weights are stored as int8 or int4 with one scale per tensor or
    per output channel. Biases of operators with other weights (float32, quantized in blocks,
    rotated) are kept.

    Args:
        source: The float32 file that the quantized file was made from.
        path: The quantized file.
        means: The result of `input_means(source, …)`. None in place of an array keeps the bias.

    Returns:
        The number of biases that were changed.
    """
    before, graph = read_graph(source), read_graph(path)
    pairs = list(zip(_weighted(before), _weighted(graph), means, strict=True))
    model: Any = unpacked(graph)
    tensors, done = model.subgraphs[0].tensors, 0
    for float32, op, mean in pairs:
        table = tensors[graph.subgraphs[0].tensors.index(op.weights)]
        rounded = _decoded(graph, op, table)
        if mean is None or rounded is None or op.weights.shape != float32.weights.shape:
            continue
        exact = before.buffer(float32.weights.buffer).view("<f4").reshape(float32.weights.shape)
        change = rounded - exact
        if (change**2).mean() < _ROTATED * (exact**2).mean():
            done += _subtract(model, _bias(model, op.place), _shift(op.kind, change, mean))
    if done:
        out = flatbuffers.Builder(1024)
        out.Finish(model.Pack(out), file_identifier=b"TFL3")
        Path(path).write_bytes(bytes(out.Output()))
    return done


def _weighted(graph: Graph) -> Iterator[_Weighted]:
    main = graph.subgraphs[0]
    for place, op in enumerate(main.ops):
        if op.name in _AXIS and len(op.inputs) > 2 and op.inputs[2] >= 0:
            weights, bias = main.source(op.inputs[1]), main.tensors[op.inputs[2]]
            if weights.constant and bias.constant:
                yield _Weighted(op.name, place, op.inputs[0], weights)


def _decoded(graph: Graph, op: _Weighted, table: Any) -> Array | None:
    """Returns the real values of int8 or int4 weights, or None for another storage format."""
    bits, shape, scales = _BITS.get(op.weights.dtype), op.weights.shape, table.quantization
    if bits is None or scales is None or scales.scale is None:
        return None
    scale = np.asarray(scales.scale, np.float64)
    axis = _AXIS[op.kind]
    if len(scale) not in (1, shape[axis]) or np.any(scales.zeroPoint):
        return None
    stored = graph.buffer(op.weights.buffer).view(np.int8)
    if bits == 4:  # two values per byte, the first one in the low half
        stored = np.stack([stored << 4 >> 4, stored >> 4], axis=-1).reshape(-1)
    values = stored[: op.weights.entries].reshape(shape).astype(np.float64)
    by_channel = [1] * len(shape)
    by_channel[axis] = -1
    return values * scale.reshape(by_channel)


def _shift(kind: str, change: Array, mean: Array) -> Array:
    """Computes the mean change of each output channel, `(output channels,)`.

    Args:
        kind: The name of the operator.
        change: The quantized minus the float32 weights.
        mean: The mean input per channel.

    Example:
        >>> _shift("FULLY_CONNECTED", np.array([[0.1, 0.2]]), np.array([1.0, 2.0]))
        array([0.5])
        >>> _shift("DEPTHWISE_CONV_2D", np.ones((1, 1, 2, 2)), np.array([1.0, 2.0]))
        array([2., 4.])
    """
    if kind == "DEPTHWISE_CONV_2D":
        return change.sum(axis=(0, 1, 2)) * np.repeat(mean, change.shape[-1] // len(mean))
    return change.reshape(len(change), -1, change.shape[-1]).sum(axis=1) @ mean


def _bias(model: Any, place: int) -> Any:
    """Returns the bias tensor of an operator, copied if others share its tensor or buffer.

    The converter stores equal biases once.
    """
    main = model.subgraphs[0]
    op = main.operators[place]
    index = op.inputs[2]
    bias = main.tensors[index]
    users = sum(list(other.inputs).count(index) for other in main.operators)
    if users == 1 and sum(tensor.buffer == bias.buffer for tensor in main.tensors) == 1:
        return bias
    own = copy.copy(bias)
    own.name, own.buffer = (bias.name or b"") + b";own", len(model.buffers)
    model.buffers.append(copy.copy(model.buffers[bias.buffer]))
    main.tensors.append(own)
    op.inputs = [*op.inputs[:2], len(main.tensors) - 1, *op.inputs[3:]]
    return own


def _subtract(model: Any, bias: Any, shift: Array) -> bool:
    """Subtracts `shift` from the stored bias; returns False if its storage format is unknown."""
    buffer = model.buffers[bias.buffer]
    data = np.asarray(buffer.data, np.uint8)
    scale = None if bias.quantization is None else bias.quantization.scale
    if scale is None or len(scale) == 0:
        if data.size != 4 * len(shift):
            return False
        changed = data.view("<f4") - shift.astype(np.float32)
    else:
        kind = np.dtype("<i4" if data.size == 4 * len(shift) else "<i8")
        limits, scale = np.iinfo(kind), np.asarray(scale, np.float64)
        wanted = data.view(kind).astype(np.float64) - shift / scale
        changed = np.clip(np.rint(wanted), limits.min, limits.max).astype(kind)
    buffer.data = np.frombuffer(changed.tobytes(), np.uint8)
    return True
