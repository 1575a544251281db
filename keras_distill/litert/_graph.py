"""What the tables of a `.tflite` file say of its size: weights, multiply-adds, precision."""

import os
import struct
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_distill._internal import InputError

_OP = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_TYPE = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}

# Operators that multiply a constant weight; its place among their inputs.
_WEIGHT_INPUT = {
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "CONV_3D": 1,
    "FULLY_CONNECTED": 1,
    "TRANSPOSE_CONV": 1,
    "BATCH_MATMUL": 1,
}
_DATA_INPUT = {"TRANSPOSE_CONV": 2}
_WHOLE = ("INT32", "INT64", "BOOL", "STRING", "UINT32", "UINT64")

# What the readers of FlatBuffers raise on tables that point anywhere.
_DAMAGE = (
    struct.error,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class GraphFacts(NamedTuple):
    """Facts of a file.

    Attributes:
        parameters: Entries of its constants; scalars, and whole-number constants without a scale
            (shapes, axes, indices), are left out.
        multiply_adds: For one row; None where a loop's length is not in the graph.
        precision: "float32", "float16", "dynamic", "int8", "int16x8", "weight-only-int8", …
    """

    parameters: int
    multiply_adds: int | None
    precision: str


def read_graph(path: str | os.PathLike) -> GraphFacts:
    """Reads the facts of a file without running it.

    Multiply-adds are counted by operator: convolutions, output positions times weights of one
    filter bank (depthwise: times the filter's area and channels); fully connected and batched
    matrix products, output entries times the inner length; the body of a loop times the constant
    its counter is compared with. Elementwise operators, pooling and softmax count nothing.

    Raises:
        InputError: If the file is damaged.
    """
    try:
        return _Graph(Path(path).read_bytes()).facts()
    except _DAMAGE as error:
        raise InputError(f"{path}: damaged .tflite file ({error}).") from error


class _Tensor(NamedTuple):
    shape: tuple[int, ...]
    type: str
    constant: bool
    quantized: bool
    buffer: int

    @property
    def entries(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


class _Op(NamedTuple):
    name: str
    inputs: list[int]
    outputs: list[int]
    table: schema.Operator


class _Graph:
    def __init__(self, data: bytes) -> None:
        self.content = data
        self.model = schema.Model.GetRootAs(data)
        codes = [self.model.OperatorCodes(i) for i in range(self.model.OperatorCodesLength())]
        self.names = [
            _OP.get(max(c.BuiltinCode(), c.DeprecatedBuiltinCode()), "CUSTOM") for c in codes
        ]
        graphs = [self.model.Subgraphs(i) for i in range(self.model.SubgraphsLength())]
        self.tensors = [self._tensors(graph) for graph in graphs]
        self.ops = [self._operators(graph) for graph in graphs]
        self.batch = self._batch(graphs[0])

    def _tensors(self, graph: schema.SubGraph) -> list[_Tensor]:
        found = []
        for i in range(graph.TensorsLength()):
            t = graph.Tensors(i)
            q = t.Quantization()
            buffer = self.model.Buffers(t.Buffer())
            found.append(
                _Tensor(
                    shape=tuple(t.Shape(d) for d in range(t.ShapeLength())),
                    type=_TYPE[t.Type()],
                    constant=buffer.DataLength() > 0 or buffer.Size() > 1,
                    quantized=q is not None and q.ScaleLength() > 0,
                    buffer=t.Buffer(),
                )
            )
        return found

    def _operators(self, graph: schema.SubGraph) -> list[_Op]:
        ops = []
        for i in range(graph.OperatorsLength()):
            op = graph.Operators(i)
            inputs = [op.Inputs(k) for k in range(op.InputsLength())]
            outputs = [op.Outputs(k) for k in range(op.OutputsLength())]
            ops.append(_Op(self.names[op.OpcodeIndex()], inputs, outputs, op))
        return ops

    def _batch(self, graph: schema.SubGraph) -> int:
        shape = self.tensors[0][graph.Inputs(0)].shape if graph.InputsLength() else ()
        return max(shape[0], 1) if shape else 1

    def facts(self) -> GraphFacts:
        total = self._multiply_adds(0)
        return GraphFacts(
            parameters=self._parameters(),
            multiply_adds=None if total is None else total // self.batch,
            precision=self._precision(),
        )

    def _parameters(self) -> int:
        weights = {
            t.buffer: t.entries
            for tensors in self.tensors
            for t in tensors
            if t.constant and t.shape and (t.quantized or t.type not in _WHOLE)
        }
        return sum(weights.values())

    def _multiply_adds(self, graph: int) -> int | None:
        total = 0
        for op in self.ops[graph]:
            if op.name in _WEIGHT_INPUT:
                total += self._one(graph, op)
            elif op.name == "WHILE":
                cost = self._loop(op)
                if cost is None:
                    return None
                total += cost
        return total

    def _one(self, graph: int, op: _Op) -> int:
        tensors = self.tensors[graph]
        weight = tensors[op.inputs[_WEIGHT_INPUT[op.name]]]
        out = tensors[op.outputs[0]]
        if op.name == "BATCH_MATMUL":
            return out.entries * tensors[op.inputs[0]].shape[-1]
        if op.name == "FULLY_CONNECTED":
            return out.entries * weight.shape[-1]
        if op.name == "TRANSPOSE_CONV":
            data = tensors[op.inputs[2]]
            return data.entries // data.shape[-1] * weight.entries
        # (out, h, w, in) and (1, h, w, channels): every output position uses each weight once.
        return out.entries // out.shape[-1] * weight.entries

    def _loop(self, op: _Op) -> int | None:
        options = schema.WhileOptions()
        union = op.table.BuiltinOptions()
        options.Init(union.Bytes, union.Pos)
        bounds = [
            bound
            for test in self.ops[options.CondSubgraphIndex()]
            if test.name == "LESS"
            for index in test.inputs
            if (bound := self._scalar(options.CondSubgraphIndex(), index)) is not None
        ]
        body = self._multiply_adds(options.BodySubgraphIndex())
        if body == 0:
            return 0
        return None if not bounds or body is None else min(bounds) * body

    def _scalar(self, graph: int, index: int) -> int | None:
        tensor = self.tensors[graph][index]
        if not tensor.constant or tensor.type != "INT32" or tensor.entries != 1:
            return None
        buffer = self.model.Buffers(tensor.buffer)
        if buffer.Size() > 1:  # stored behind the FlatBuffer
            return int(np.frombuffer(self.content, "<i4", 1, buffer.Offset())[0])
        return int(np.frombuffer(buffer.DataAsNumpy(), "<i4")[0])

    def _precision(self) -> str:
        """The precision in which most of the weights are used."""
        votes: Counter[str] = Counter()
        for tensors, ops in zip(self.tensors, self.ops, strict=True):
            unpacked = {op.outputs[0]: op.inputs[0] for op in ops if op.name == "DEQUANTIZE"}
            for op in ops:
                if op.name not in _WEIGHT_INPUT:
                    continue
                place = op.inputs[_WEIGHT_INPUT[op.name]]
                weight = tensors[unpacked.get(place, place)]
                if weight.constant:
                    data = tensors[op.inputs[_DATA_INPUT.get(op.name, 0)]]
                    votes[_name(data.type, weight.type, place in unpacked)] += weight.entries
        return votes.most_common(1)[0][0] if votes else "float32"


def _name(data: str, weight: str, unpacked: bool) -> str:
    data, weight = data.lower(), weight.lower()
    if weight in ("float32", "float16"):
        return weight
    if data == "float32":
        return f"weight-only-{weight}" if unpacked or weight == "int4" else "dynamic"
    return "int16x8" if data == "int16" else data
