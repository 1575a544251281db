"""The tensors and operators of one graph of a `.tflite` file, and the precision of an operator."""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

# Operators that multiply their input 1, in most cases constant weights, by another input.
MULTIPLYING = (
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "CONV_3D",
    "FULLY_CONNECTED",
    "TRANSPOSE_CONV",
    "BATCH_MATMUL",
)
_DATA_INPUT = {"TRANSPOSE_CONV": 2}
# Operators that only decode a constant.
_DECODING = ("DEQUANTIZE", "DENSIFY")


class Tensor(NamedTuple):
    """A tensor of a subgraph.

    Attributes:
        name: The name of the tensor.
        shape: The size of each axis.
        dtype: The name of the type in lower case: "float32", "int8", "int4", …
        buffer: The number of its buffer. Several tensors may share a buffer.
        constant: Whether the file stores the values.
        quantized: Whether the tensor has a scale.
        zero_point: The stored integer that means 0.0, for the first channel; 0 if there is none.
        sparse: Whether the values are stored in a sparse format, without most of the zeros.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    buffer: int
    constant: bool
    quantized: bool
    zero_point: int
    sparse: bool

    @property
    def entries(self) -> int:
        """The number of entries."""
        return int(np.prod(self.shape, dtype=np.int64))


class Op(NamedTuple):
    """An operator of a subgraph.

    Attributes:
        name: The name of the operator, such as "CONV_2D", or the custom code of a custom operator.
        custom: Whether it is not a TFLite builtin.
        inputs: The indices of its input tensors; -1 for an optional input that is absent.
        outputs: The indices of its output tensors.
        table: The operator's table from the FlatBuffers reader.
    """

    name: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: Any


@dataclass(frozen=True)
class Subgraph:
    """A graph of the file: the main graph, or the condition or body of a loop.

    Attributes:
        tensors: The tensors.
        ops: The operators, in the order of execution.
        inputs: The indices of the input tensors.
        outputs: The indices of the output tensors.
    """

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @functools.cached_property
    def _decoded(self) -> dict[int, int]:
        return {op.outputs[0]: op.inputs[0] for op in self.ops if op.name in _DECODING}

    def source(self, index: int) -> Tensor:
        """Returns the stored tensor from which tensor `index` is decoded, or the tensor itself."""
        for _ in self._decoded:  # bounded, because a damaged file may have a cycle
            index = self._decoded.get(index, index)
        return self.tensors[index]

    def weights(self, op: Op) -> Tensor | None:
        """Returns the constant weights that an operator multiplies; None if it has none."""
        if op.name not in MULTIPLYING:
            return None
        found = self.source(op.inputs[1])
        return found if found.constant else None


def multiplications(graph: Subgraph, op: Op) -> int:
    """Returns the multiply-adds of one of the operators `MULTIPLYING`."""
    weight = graph.tensors[op.inputs[1]]
    out = graph.tensors[op.outputs[0]]
    if op.name == "BATCH_MATMUL":
        return out.entries * graph.tensors[op.inputs[0]].shape[-1]
    if op.name == "FULLY_CONNECTED":
        return out.entries * weight.shape[-1]
    if op.name == "TRANSPOSE_CONV":
        data = graph.tensors[op.inputs[2]]
        return data.entries // data.shape[-1] * weight.entries
    # (out, h, w, in) and (1, h, w, channels): every output position uses each weight once.
    return out.entries // out.shape[-1] * weight.entries


def computed_in(graph: Subgraph, op: Op) -> str:
    """Returns the precision of an operator, from its constant weights or from its data."""
    weight = graph.weights(op)
    if weight is not None:
        data = graph.tensors[op.inputs[_DATA_INPUT.get(op.name, 0)]]
        decoded = weight is not graph.tensors[op.inputs[1]]
        return _precision(data.dtype, weight.dtype, decoded)
    tensors = [graph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
    data = [t.dtype for t in tensors if not t.constant]
    if "float32" in data:
        return "float32"
    return data[0] if data else "constant"


def _precision(data: str, weight: str, decoded: bool) -> str:
    if weight in ("float32", "float16"):
        return weight
    if data == "float32":
        return f"weight-only-{weight}" if decoded or weight == "int4" else "dynamic"
    return "int16x8" if data == "int16" else data
