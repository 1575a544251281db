"""Fills code templates, and provides the properties of tensors that they need."""

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill._internal._templates import Templates
from keras_distill.records import TensorRecord

_FOLDER = Path(__file__).with_name("templates")

# NumPy type -> types in C++, Kotlin (and how it puts and gets a value), and Swift.
_TYPES = {
    "float32": ("float", "toFloat", "putFloat", "getFloat", "Float"),
    "int8": ("int8_t", "toByte", "put", "get", "Int8"),
    "uint8": ("uint8_t", "toByte", "put", "get", "UInt8"),
    "int16": ("int16_t", "toShort", "putShort", "getShort", "Int16"),
    "int32": ("int32_t", "toInt", "putInt", "getInt", "Int32"),
    "int64": ("int64_t", "toLong", "putLong", "getLong", "Int64"),
}
DTYPES = frozenset(_TYPES)


@functools.cache
def _environment() -> Templates:
    # Templates are code, not HTML. Names are inserted as literals.
    return Templates(_FOLDER, html=False, keep_trailing_newline=True)


def fill(name: str, **values: Any) -> str:
    """Fills the template with this name."""
    return _environment().get_template(f"{name}.txt").render(**values)


def facts(tensor: TensorRecord) -> dict[str, Any]:
    """Returns what templates need to know about a tensor of one of `DTYPES`; its batch is 1.

    Example:
        >>> found = facts(TensorRecord(name="x", shape=(None, 4), dtype="int8", scale=0.5,
        ...                            zero_point=-3))
        >>> found["one"], found["size"], found["scale"], found["low"], found["ctype"]
        ((1, 4), 4, '0.5f', -128, 'int8_t')
    """
    sizes = tuple(n or 1 for n in tensor.shape)
    dtype = np.dtype(tensor.dtype)
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    ctype, kotlin, put, get, swift = _TYPES[tensor.dtype]
    size = math.prod(sizes[1:])
    value = f"output.{get}().toInt()" + (" and 0xFF" if tensor.dtype == "uint8" else "")
    return {
        "name": plain(tensor.name),
        "dtype": tensor.dtype,
        "shape": sizes,
        "example": sizes[1:],
        "one": (1, *sizes[1:]),
        "size": size,
        "bytes": size * dtype.itemsize,
        "scale": None if tensor.scale is None else f"{np.float32(tensor.scale)!s}f",
        "number": None if tensor.scale is None else repr(tensor.scale),
        "zero_point": tensor.zero_point or 0,
        "low": None if limits is None else int(limits.min),
        "high": None if limits is None else int(limits.max),
        "ctype": ctype,
        "kotlin": kotlin,
        "put": put,
        "get": get,
        "get_kotlin": f"({value})",
        "swift": swift,
    }


def plain(text: str) -> str:
    """Returns a text for a comment or a literal: a single line without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def literal(text: str) -> str:
    """Returns a string literal that is valid in Python, C++, and Swift.

    Example:
        >>> literal('a "b" \\\\ é')
        '"a \\\\"b\\\\" \\\\\\\\ é"'
    """
    escaped = plain(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def kotlin_literal(text: str) -> str:
    """Returns a string literal for Kotlin, where a dollar sign starts an expression."""
    return literal(text).replace("$", "\\$")
