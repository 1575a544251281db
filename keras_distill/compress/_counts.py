"""Zeros and different values of the weights, counted in a `.tflite` file itself."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill._internal import InputError
from keras_distill.litert import _interpreter
from keras_distill.records._compress import KernelCount

# Operator -> (position of its weights among its inputs, axis of the output channels).
_OPERATORS = {
    "CONV_2D": (1, 0),
    "DEPTHWISE_CONV_2D": (1, 3),
    "FULLY_CONNECTED": (1, 0),
    "TRANSPOSE_CONV": (1, 0),
    "CONV_3D": (1, 4),
    "EMBEDDING_LOOKUP": (1, 0),
    "GATHER": (0, 0),
}
# Operators that only unpack weights on their way.
_UNPACKING = ("DEQUANTIZE", "DENSIFY")


def count_weights(path: str | os.PathLike) -> tuple[KernelCount, ...]:
    """Counts the weights of every convolution, dense layer and embedding of a file.

    Nothing is run: weights are read from the file's buffers, sparse ones as they are stored.

    Args:
        path: A `.tflite` file.

    Returns:
        A record per operator that has constant weights, in the file's order.

    Raises:
        InputError: If it is no `.tflite` file, or stores weights in a type not known here (int4).

    Example:
        >>> import keras, tempfile, keras_distill as kd
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> model.layers[0].set_weights([np.eye(4, 3), np.zeros(3)])
        >>> path = Path(tempfile.mkdtemp(), "eye.tflite")
        >>> _ = kd.export_tflite(model, path)
        >>> [(k.op, k.shape, k.zeros, k.values) for k in count_weights(path)]
        [('FULLY_CONNECTED', (3, 4), 9, 2)]
    """
    _interpreter.read_ops(path)  # refuses what is no .tflite file
    return tuple(_File(Path(path)).counts())


class _File:
    """A parsed file."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._path = path
        self._model = schema.Model.GetRootAs(path.read_bytes())
        self._ops = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
        types = schema.TensorType
        self._dtypes = {
            types.FLOAT32: np.float32,
            types.FLOAT16: np.float16,
            types.INT8: np.int8,
            types.UINT8: np.uint8,
        }
        self._type_names = {v: k for k, v in vars(types).items() if isinstance(v, int)}

    def counts(self) -> Iterator[KernelCount]:
        """One record per operator with constant weights."""
        for s in range(self._model.SubgraphsLength()):
            graph = self._model.Subgraphs(s)
            operators = [graph.Operators(i) for i in range(graph.OperatorsLength())]
            source = {
                int(op.Outputs(0)): int(op.Inputs(0))
                for op in operators
                if self._name(op) in _UNPACKING
            }
            for op in operators:
                name = self._name(op)
                if name not in _OPERATORS:
                    continue
                position, axis = _OPERATORS[name]
                index = int(op.Inputs(position))
                while index in source:
                    index = source[index]
                tensor = graph.Tensors(index)
                if self._model.Buffers(tensor.Buffer()).DataLength():
                    yield self._count(name, tensor, axis)

    def _name(self, op: Any) -> str:
        code = self._model.OperatorCodes(op.OpcodeIndex())
        return self._ops.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "")

    def _count(self, op: str, tensor: Any, axis: int) -> KernelCount:
        name = tensor.Name().decode(errors="replace")
        dtype = self._dtypes.get(tensor.Type())
        if dtype is None:
            kind = self._type_names.get(tensor.Type(), tensor.Type())
            raise InputError(f"{self._path}: {name!r} stores its weights as {kind}, not read here.")
        stored = self._model.Buffers(tensor.Buffer()).DataAsNumpy().view(dtype)
        shape = tuple(int(n) for n in tensor.ShapeAsNumpy())
        size = int(np.prod(shape))
        zero = _zero_point(tensor)
        zeros = size - int((stored != zero).sum())
        values = len(np.unique(stored[stored != zero])) + (zeros > 0)
        per_channel = values
        if tensor.Sparsity() is None:
            channels = np.moveaxis(stored.reshape(shape), axis, 0).reshape(shape[axis], -1)
            per_channel = max(len(np.unique(channel)) for channel in channels)
        return KernelCount(
            name=name,
            op=op,
            shape=shape,
            dtype=np.dtype(dtype).name,
            zeros=zeros,
            values=values,
            values_per_channel=per_channel,
        )


def _zero_point(tensor: Any) -> int:
    """The stored number that stands for 0. Weights have one for all channels."""
    quantization = tensor.Quantization()
    if quantization is None or not quantization.ZeroPointLength():
        return 0
    return int(quantization.ZeroPoint(0))
