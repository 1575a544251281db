"""Counts the zeros and the distinct values among the weights stored in a `.tflite` file."""

import os
from typing import TYPE_CHECKING

import numpy as np

from keras_distill._internal import InputError
from keras_distill.litert._parser import Graph, read_graph, refuses_damage
from keras_distill.litert._subgraph import Tensor

if TYPE_CHECKING:
    from keras_distill.records import KernelCount

# Operator -> (position of its weights among its inputs, axis of the output channels).
_KERNELS = {
    "CONV_2D": (1, 0),
    "DEPTHWISE_CONV_2D": (1, 3),
    "FULLY_CONNECTED": (1, 0),
    "TRANSPOSE_CONV": (1, 0),
    "CONV_3D": (1, 4),
    "EMBEDDING_LOOKUP": (1, 0),
    "GATHER": (0, 0),
}
_DTYPES = ("float32", "float16", "int8", "uint8")


def count_weights(path: str | os.PathLike[str]) -> "tuple[KernelCount, ...]":
    """Counts zeros and distinct weights of each convolution, dense layer, and embedding of a file.

    The weights are read from the file, which is not run. In a sparse format, the zeros that are not
    stored count as zeros.

    Args:
        path: A `.tflite` file.

    Returns:
        One record per operator with constant weights, in the order of the file.

    Raises:
        InputError: If the path is not a `.tflite` file, or the file is damaged or stores weights in
            an unsupported type, such as int4.

    Example:
        >>> import keras, pathlib, tempfile, keras_distill as kd
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> model.layers[0].set_weights([np.eye(4, 3), np.zeros(3)])
        >>> path = pathlib.Path(tempfile.mkdtemp(), "eye.tflite")
        >>> _ = kd.export_tflite(model, path, data=np.ones((8, 4), np.float32))
        >>> [(k.op, k.shape, k.zeros, k.values) for k in count_weights(path)]
        [('FULLY_CONNECTED', (3, 4), 9, 2)]
    """
    return _counts(read_graph(path))


@refuses_damage
def _counts(graph: Graph) -> "tuple[KernelCount, ...]":
    found = []
    for subgraph in graph.subgraphs:
        for op in subgraph.ops:
            if op.name in _KERNELS:
                position, axis = _KERNELS[op.name]
                tensor = subgraph.source(op.inputs[position])
                if tensor.constant:
                    found.append(_count(graph, op.name, tensor, axis))
    return tuple(found)


def _count(graph: Graph, op: str, tensor: Tensor, axis: int) -> "KernelCount":
    # Imported here, because it would add a third to the start-up time of every child.
    from keras_distill.records import KernelCount

    if tensor.dtype not in _DTYPES:
        raise InputError(
            f"{graph.path}: {tensor.name!r} stores its weights as {tensor.dtype}. Supported:"
            f" {', '.join(_DTYPES)}."
        )
    stored = graph.buffer(tensor.buffer).view(tensor.dtype)
    zeros = tensor.entries - int((stored != tensor.zero_point).sum())
    values = len(np.unique(stored[stored != tensor.zero_point])) + (zeros > 0)
    per_channel = values
    if not tensor.sparse:
        channels = np.moveaxis(stored.reshape(tensor.shape), axis, 0)
        per_channel = max(len(np.unique(channel)) for channel in channels)
    return KernelCount(
        name=tensor.name,
        op=op,
        shape=tensor.shape,
        dtype=tensor.dtype,
        zeros=zeros,
        values=values,
        values_per_channel=per_channel,
    )
