"""Writes the small `.tflite` files of the tests, table by table, without a converter.

    python tests/golden/make_tflite.py

All compute y = W x + b on x `(1, 4)` with the constants below; each differs in one respect.
"""

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

WEIGHTS = np.array([[1, 0, -1, 2], [0, 1, 1, -1], [2, -2, 0, 1]], np.float32)
BIAS = np.array([0.5, -0.5, 0.0], np.float32)
FOLDER = Path(__file__).parent / "tflite"
TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
    "resource": schema.TensorType.RESOURCE,
}
OPS = schema.BuiltinOperator


class Model:
    """Tables of a model with one graph."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, name, shape, dtype="float32", value=None, scale=None, zero_point=0, batch=1):
        """Adds a tensor; returns its number."""
        t = schema.TensorT()
        t.name, t.shape, t.type, t.buffer = name, list(shape), TYPES[dtype], 0
        if batch is None:
            t.shapeSignature = [-1, *shape[1:]]
        if value is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        if scale is not None:
            t.quantization = schema.QuantizationParametersT()
            t.quantization.scale, t.quantization.zeroPoint = [scale], [zero_point]
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def op(self, code, inputs, outputs, options=None, custom=None, version=1):
        """Adds an operator; `options` is (union type, table)."""
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode = code, min(code, 127)
        entry.customCode, entry.version = custom, version
        self.model.operatorCodes.append(entry)
        op = schema.OperatorT()
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs, op.outputs = list(inputs), list(outputs)
        if options is not None:
            op.builtinOptionsType, op.builtinOptions = options
        self.graph.operators.append(op)

    def save(self, name, inputs, outputs, signature=True):
        """Writes the file; `inputs` and `outputs` are tensor numbers by signature name."""
        self.graph.inputs, self.graph.outputs = list(inputs.values()), list(outputs.values())
        if signature:
            entry = schema.SignatureDefT()
            entry.signatureKey, entry.subgraphIndex = "serving_default", 0
            entry.inputs = [_map(*item) for item in inputs.items()]
            entry.outputs = [_map(*item) for item in outputs.items()]
            self.model.signatureDefs = [entry]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{name}.tflite").write_bytes(bytes(builder.Output()))


def _map(name, tensor):
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, tensor
    return entry


def _dense_options():
    return schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT()


def floating(name, batch=1, signature=True):
    """The float32 net."""
    m = Model()
    x = m.tensor("x", (1, 4), batch=batch)
    w, b = m.tensor("w", (3, 4), value=WEIGHTS), m.tensor("b", (3,), value=BIAS)
    y = m.tensor("y", (1, 3), batch=batch)
    m.op(OPS.FULLY_CONNECTED, (x, w, b), (y,), _dense_options())
    m.save(name, {"image": x}, {"logits": y}, signature)


def integer(name, dtype, x_scale, x_zero):
    """The net in int8 or uint8: weights in steps of 2/127 and of 4/255."""
    m = Model()
    x, y = _integer(m, dtype, x_scale, x_zero)
    m.save(name, {"image": x}, {"logits": y})


def _integer(m, dtype, x_scale, x_zero):
    """Adds the net; returns its input and its output."""
    low, w_zero = (-127, 0) if dtype == "int8" else (0, 128)
    w_scale = 2 / 127 if dtype == "int8" else 4 / 255
    q = np.clip(np.round(WEIGHTS / w_scale) + w_zero, low, low + 255 - (dtype == "int8"))
    x = m.tensor("x", (1, 4), dtype, scale=x_scale, zero_point=x_zero)
    w = m.tensor("w", (3, 4), dtype, q.astype(dtype), scale=w_scale, zero_point=w_zero)
    bias = np.round(BIAS / (x_scale * w_scale)).astype("int32")
    b = m.tensor("b", (3,), "int32", bias, scale=x_scale * w_scale)
    y_zero = 0 if dtype == "int8" else 128
    y = m.tensor("y", (1, 3), dtype, scale=x_scale * 4, zero_point=y_zero)
    m.op(OPS.FULLY_CONNECTED, (x, w, b), (y,), _dense_options(), version=4)
    return x, y


def mixed():
    """The int8 net, whose output is converted to float32 and goes through GELU."""
    m = Model()
    x, q = _integer(m, "int8", 1 / 32, 0)
    real, y = m.tensor("real", (1, 3)), m.tensor("activated", (1, 3))
    m.op(
        OPS.DEQUANTIZE,
        (q,),
        (real,),
        (schema.BuiltinOptions.DequantizeOptions, schema.DequantizeOptionsT()),
        version=2,
    )
    m.op(OPS.GELU, (real,), (y,), (schema.BuiltinOptions.GeluOptions, schema.GeluOptionsT()))
    m.save("mixed", {"image": x}, {"logits": y})


def two():
    """left + right and left - right, under names that are not in the order of the graph."""
    m = Model()
    a, b = m.tensor("a", (1, 4)), m.tensor("b", (1, 4))
    total, gap = m.tensor("total", (1, 4)), m.tensor("gap", (1, 4))
    m.op(OPS.ADD, (a, b), (total,), (schema.BuiltinOptions.AddOptions, schema.AddOptionsT()))
    m.op(OPS.SUB, (a, b), (gap,), (schema.BuiltinOptions.SubOptions, schema.SubOptionsT()))
    m.save("two", {"right": b, "left": a}, {"sum": total, "difference": gap})


def flex():
    """A TensorFlow operator that no LiteRT interpreter has."""
    m = Model()
    x, y = m.tensor("x", (1, 4)), m.tensor("y", (1, 4))
    m.op(OPS.CUSTOM, (x,), (y,), custom="FlexErf")
    m.save("flex", {"image": x}, {"logits": y})


def variable():
    """A variable whose value is not in the file."""
    m = Model()
    x, handle, y = m.tensor("x", (1, 4)), m.tensor("v", (1,), "resource"), m.tensor("y", (1, 4))
    options = schema.VarHandleOptionsT()
    options.container, options.sharedName = "", "v"
    m.op(OPS.VAR_HANDLE, (), (handle,), (schema.BuiltinOptions.VarHandleOptions, options))
    m.op(
        OPS.READ_VARIABLE,
        (handle,),
        (y,),
        (schema.BuiltinOptions.ReadVariableOptions, schema.ReadVariableOptionsT()),
    )
    m.save("variable", {"image": x}, {"logits": y})


if __name__ == "__main__":
    floating("float")
    floating("open_batch", batch=None)
    floating("unsigned", signature=False)
    integer("int8", "int8", 1 / 32, 0)
    integer("uint8", "uint8", 1.0, 0)
    two()
    flex()
    variable()
    mixed()
