"""Parses `.tflite` files: operators, tensors, constants, and the properties that follow from them.

Nothing is executed, so that damaged files cannot do harm. A constant is stored inside the
FlatBuffer ("inline") or after it, at an offset that the FlatBuffer contains ("external"). LiteRT
Quantizer writes external constants, and every file over 2 GB has them.
"""

import functools
import os
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_distill._internal import InputError, _files
from keras_distill._internal._types import Array
from keras_distill.litert._subgraph import (
    MULTIPLYING,
    Op,
    Subgraph,
    Tensor,
    computed_in,
    multiplications,
)

_OPERATORS = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_TYPES = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}
_INTEGERS = ("int32", "int64", "bool", "string", "uint32", "uint64")

# The exceptions that the FlatBuffers readers raise on tables with invalid offsets.
_DAMAGE = (
    struct.error,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)

_Result = TypeVar("_Result")


def refuses_damage(function: Callable[["Graph"], _Result]) -> Callable[["Graph"], _Result]:
    """Decorates a function of a graph: if the file is damaged, it raises `InputError`."""

    @functools.wraps(function)
    def guarded(self: "Graph") -> _Result:
        try:
            return function(self)
        except _DAMAGE as error:
            raise InputError(f"{self.path}: damaged .tflite file ({error}).") from error

    return guarded


class Graph:
    """A parsed `.tflite` file; see `read_graph`.

    Args:
        path: The file.

    Attributes:
        path: The file.
        content: The bytes of the file.
        subgraphs: The graphs of the file. The main graph is the first.

    Raises:
        InputError: See `read_graph`.
    """

    path: Path
    content: bytes
    subgraphs: tuple[Subgraph, ...]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        check_mark(self.path)
        self.content = self.path.read_bytes()
        self._parse()

    @refuses_damage
    def _parse(self) -> None:
        self._model: Any = schema.Model.GetRootAs(self.content)
        codes = [self._model.OperatorCodes(i) for i in range(self._model.OperatorCodesLength())]
        names = [_op_name(code) for code in codes]
        graphs: list[Any] = [self._model.Subgraphs(i) for i in range(self._model.SubgraphsLength())]
        self.subgraphs = tuple(
            Subgraph(
                tuple(self._tensor(graph.Tensors(i)) for i in range(graph.TensorsLength())),
                tuple(_op(graph.Operators(i), names) for i in range(graph.OperatorsLength())),
                tuple(graph.Inputs(i) for i in range(graph.InputsLength())),
                tuple(graph.Outputs(i) for i in range(graph.OutputsLength())),
            )
            for graph in graphs
        )

    def _tensor(self, table: Any) -> Tensor:
        quantization: Any = table.Quantization()
        quantized = quantization is not None and quantization.ScaleLength() > 0
        buffer: Any = self._model.Buffers(table.Buffer())
        return Tensor(
            name=(table.Name() or b"").decode(errors="replace"),
            shape=tuple(table.Shape(d) for d in range(table.ShapeLength())),
            dtype=_TYPES.get(table.Type(), f"type {table.Type()}"),
            buffer=table.Buffer(),
            constant=buffer.DataLength() > 0 or _is_external(buffer),
            quantized=quantized,
            zero_point=_zero_point(quantization),
            sparse=table.Sparsity() is not None,
        )

    def buffer(self, number: int) -> Array:
        """Returns the bytes of a buffer as uint8, whether stored inline or external."""
        buffer: Any = self._model.Buffers(number)
        if _is_external(buffer):
            return np.frombuffer(self.content, np.uint8, buffer.Size(), buffer.Offset())
        data = buffer.DataAsNumpy() if buffer.DataLength() else b""
        return np.frombuffer(data, np.uint8)

    def external_buffers(self) -> list[int]:
        """Lists the numbers of the buffers that are stored after the FlatBuffer."""
        count = self._model.BuffersLength()
        return [i for i in range(count) if _is_external(self._model.Buffers(i))]

    def metadata(self, name: bytes) -> bytes | None:
        """Returns the content of the metadata entry with this name, or None."""
        for i in range(self._model.MetadataLength()):
            entry: Any = self._model.Metadata(i)
            if entry.Name() == name:
                return self.buffer(entry.Buffer()).tobytes()
        return None

    @functools.cached_property
    def ops(self) -> dict[str, int]:
        """The count of each operator over all subgraphs, most frequent first."""
        return dict(Counter(op.name for graph in self.subgraphs for op in graph.ops).most_common())

    @functools.cached_property
    def custom_ops(self) -> list[str]:
        """The operators that are not TFLite builtins (Flex among them), sorted."""
        return sorted({op.name for graph in self.subgraphs for op in graph.ops if op.custom})

    @functools.cached_property
    @refuses_damage
    def parameters(self) -> int:
        """The number of parameters: the entries of the constants in all subgraphs.

        Scalars are not counted, nor are integer constants without a scale (shapes, axes, indices).
        A buffer that several tensors share is counted once.
        """
        weights = {
            t.buffer: t.entries
            for graph in self.subgraphs
            for t in graph.tensors
            if t.constant and t.shape and (t.quantized or t.dtype not in _INTEGERS)
        }
        return sum(weights.values())

    @functools.cached_property
    @refuses_damage
    def multiply_adds(self) -> int | None:
        """The multiply-adds for one row, or None if the length of a loop is not in the graph.

        - Convolutions, depthwise ones included: output positions times the number of weights.
        - Transposed convolutions: input positions times the number of weights.
        - Fully connected and batched matrix products: output entries times the inner dimension.
        - Loops: the multiply-adds of the body, times the smallest constant in the loop condition.

        Elementwise operators, pooling, and softmax are not counted.
        """
        main = self.subgraphs[0]
        shape = main.tensors[main.inputs[0]].shape if main.inputs else ()
        total = self._multiply_adds(0)
        return None if total is None else total // (max(shape[0], 1) if shape else 1)

    def _multiply_adds(self, number: int) -> int | None:
        total, graph = 0, self.subgraphs[number]
        for op in graph.ops:
            cost: int | None = 0
            if op.name in MULTIPLYING:
                cost = multiplications(graph, op)
            elif op.name == "WHILE":
                cost = self._loop(op)
            if cost is None:
                return None
            total += cost
        return total

    def _loop(self, op: Op) -> int | None:
        options, union = schema.WhileOptions(), op.table.BuiltinOptions()
        options.Init(union.Bytes, union.Pos)
        test = self.subgraphs[options.CondSubgraphIndex()]
        bounds = [
            bound
            for less in test.ops
            if less.name == "LESS"
            for index in less.inputs
            if (bound := self._scalar(test.tensors[index])) is not None
        ]
        body = self._multiply_adds(options.BodySubgraphIndex())
        if body == 0:
            return 0
        return None if not bounds or body is None else min(bounds) * body

    def _scalar(self, tensor: Tensor) -> int | None:
        if not tensor.constant or tensor.dtype != "int32" or tensor.entries != 1:
            return None
        return int(self.buffer(tensor.buffer).view("<i4")[0])

    def precision_of(self, op: Op) -> str:
        """Returns the precision in which an operator of the main graph computes.

        Raises:
            InputError: If the tables of the file are damaged.
        """
        try:
            return computed_in(self.subgraphs[0], op)
        except _DAMAGE as error:
            raise InputError(f"{self.path}: damaged .tflite file ({error}).") from error

    @functools.cached_property
    @refuses_damage
    def precision(self) -> str:
        """The precision of most weights, such as "float32", "dynamic", or "weight-only-int8"."""
        votes: Counter[str] = Counter()
        for graph in self.subgraphs:
            for op in graph.ops:
                if (weights := graph.weights(op)) is not None:
                    votes[computed_in(graph, op)] += weights.entries
        return votes.most_common(1)[0][0] if votes else "float32"


def read_graph(path: str | os.PathLike[str]) -> Graph:
    """Parses a `.tflite` file without running it.

    Args:
        path: The file.

    Raises:
        InputError: If the file does not exist, is not a `.tflite` file, or is damaged.
    """
    return Graph(path)


def check_mark(path: Path) -> None:
    """Checks that a file starts as a `.tflite` file, with TFL3 in bytes 4 to 7.

    Raises:
        InputError: If it does not, or the file does not exist or cannot be read.
    """
    _files.check_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    if start[4:] != b"TFL3":
        raise InputError(f"{path}: not a .tflite file (it has no TFL3 mark).")


def _zero_point(quantization: Any) -> int:
    if quantization is None or not quantization.ZeroPointLength():
        return 0
    return int(quantization.ZeroPoint(0))


def _is_external(buffer: Any) -> bool:
    return buffer.Size() > 1  # a size of 1 is a placeholder


def _op_name(code: Any) -> tuple[str, bool]:
    # DeprecatedBuiltinCode is the 8-bit code of older files. BuiltinCode extends it.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if number == schema.BuiltinOperator.CUSTOM:
        return (code.CustomCode() or b"?").decode(errors="replace"), True
    return _OPERATORS.get(number, f"operator {number}"), False


def _op(table: Any, names: list[tuple[str, bool]]) -> Op:
    name, custom = names[table.OpcodeIndex()]
    inputs = tuple(table.Inputs(i) for i in range(table.InputsLength()))
    outputs = tuple(table.Outputs(i) for i in range(table.OutputsLength()))
    return Op(name, custom, inputs, outputs, table)
