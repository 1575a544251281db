"""Initializes LiteRT, so that later measurements of a file do not include its initialization."""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


def warm_up(threads: int) -> None:
    """Runs a tiny file once, which initializes LiteRT and its default delegate.

    Args:
        threads: The number of threads of the interpreter.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_content=smallest_file(), num_threads=threads)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.ones((1, 4), np.float32))
    interpreter.invoke()


def smallest_file() -> bytes:
    """Returns the bytes of a `.tflite` file that computes x + x for one row of 4 numbers.

    Example:
        >>> len(smallest_file()) < 1000
        True
    """
    model: Any = schema.ModelT()
    model.version, model.buffers = 3, [schema.BufferT()]
    code: Any = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 1
    model.operatorCodes = [code]
    operator: Any = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 0], [1]
    operator.builtinOptionsType = schema.BuiltinOptions.AddOptions
    operator.builtinOptions = schema.AddOptionsT()
    graph: Any = schema.SubGraphT()
    graph.tensors = [_tensor("x"), _tensor("y")]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str) -> Any:
    tensor: Any = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, [1, 4], schema.TensorType.FLOAT32
    tensor.buffer = 0
    return tensor
