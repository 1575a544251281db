"""Describes the inputs and outputs of a `.tflite` file, and converts their values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_distill._internal import InputError, bad
from keras_distill._internal._types import Array

_NARROW = 8.0  # an input with a smaller range of real values does not expect 0..255
_FAR = 2.0  # times the largest real value of the input; larger values are not real values
_BRIGHT = 128  # the brightest raw pixel is at least this large


class TensorSpec(NamedTuple):
    """One input or output of a file.

    Attributes:
        name: The name in the signature. Without a signature, the name of the tensor.
        shape: The size of each axis; None for a dynamic size.
        dtype: The NumPy name of the dtype: "float32", "int8", …
        scale: The scale of real = scale · (q - zero_point); None if not quantized.
        zero_point: The integer that means 0.0; None if not quantized.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


def spec_of(name: str, detail: dict[str, Any]) -> TensorSpec:
    """Creates the spec of a tensor from the interpreter's tensor details."""
    scale, zero_point = detail["quantization"]
    shape = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
    quantized = bool(scale)
    return TensorSpec(
        name=name,
        shape=tuple(int(n) if n >= 0 else None for n in shape),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scale) if quantized else None,
        zero_point=int(zero_point) if quantized else None,
    )


def takes_pixels(x: Array, spec: TensorSpec) -> bool:
    """Returns whether `x` contains raw pixels, for an 8-bit input that expects scaled images.

    Such an input has a narrow range of real values, such as 0..1 or -1..1. Values in 0..255 cannot
    be real values of it, because almost all of them would be clipped. Raw pixels are uint8, or
    whole numbers in 0..255 of which the largest is far outside the range. They are converted to
    q = x for a uint8 input and to q = x - 128 for an int8 input, which is the convention for such
    files. The result is False if `x` already has the dtype of the input.

    Args:
        x: The rows.
        spec: The input.

    Example:
        >>> spec = TensorSpec("x", (1, 2), "int8", 1 / 255, -128)
        >>> takes_pixels(np.array([[0, 255]], np.uint8), spec), takes_pixels(np.ones((1, 2)), spec)
        (True, False)
    """
    if spec.dtype not in ("int8", "uint8") or spec.scale is None or x.dtype == spec.dtype:
        return False
    if 255 * spec.scale >= _NARROW or x.dtype == np.int8:
        return False
    if x.dtype == np.uint8:
        return True
    largest = spec.scale * (np.iinfo(spec.dtype).max - (spec.zero_point or 0))
    if x.dtype.kind not in "iuf" or not x.size or x.max() < max(_FAR * largest, _BRIGHT):
        return False
    return bool(x.min() >= 0 and x.max() <= 255 and (x == np.round(x)).all())


def quantize(x: Array, spec: TensorSpec, *, alone: bool = False) -> Array:
    """Converts an array to the dtype of an input.

    Args:
        x: Real values, raw pixels, or values that already have the dtype of the input.
        spec: The input.
        alone: Whether the file has no other input. Raw pixels are recognized only then.

    Raises:
        InputError: If `x` does not have the shape of the input, or does not contain numbers.
    """
    wanted = spec.shape
    fits = x.ndim == len(wanted) >= 1 and all(
        b is None or a == b for a, b in zip(x.shape[1:], wanted[1:], strict=True)
    )
    if not fits or x.dtype.kind not in "fiub":
        raise bad(
            spec.name,
            f"be an array of numbers of shape (n, {', '.join(map(str, wanted[1:]))})",
            f"{x.dtype} {x.shape}",
        )
    dtype = np.dtype(spec.dtype)
    if spec.scale is None or x.dtype == dtype:
        return np.ascontiguousarray(x, dtype)
    if alone and takes_pixels(x, spec):
        return (x.astype(np.int16) - (128 if spec.dtype == "int8" else 0)).astype(dtype)
    limits = np.iinfo(dtype)
    q = np.round(x.astype(np.float64) / spec.scale) + (spec.zero_point or 0)
    return np.clip(np.nan_to_num(q), limits.min, limits.max).astype(dtype)


def arrange(path: Path, specs: Sequence[TensorSpec], x: Any) -> dict[str, Array]:
    """Checks the rows for the inputs of a file, and converts them to the dtype of each input.

    Args:
        path: The file, for error messages.
        specs: The inputs of the file.
        x: As for `LiteRTModel.predict`.

    Returns:
        The rows by input name.

    Raises:
        InputError: If `x` does not match the inputs.
    """
    names = [spec.name for spec in specs]
    if isinstance(x, Mapping):
        given = dict(x)
    elif len(names) == 1:
        given = {names[0]: x}
    else:
        raise InputError(
            f"{path} has several inputs ({names}), whose order is not that of the model."
            " Pass a dict by input name."
        )
    if set(given) != set(names):
        raise InputError(f"{path} takes the inputs {names}. Received: {sorted(given)}")
    arrays = {spec.name: np.asarray(given[spec.name]) for spec in specs}
    alone = len(names) == 1
    arrays = {s.name: quantize(arrays[s.name], s, alone=alone) for s in specs}
    rows = {len(a) for a in arrays.values()}
    if len(rows) != 1 or rows == {0}:
        raise InputError(f"Inputs need one length >= 1. Received lengths: {sorted(rows)}")
    return arrays


def dequantize(y: Array, spec: TensorSpec) -> Array:
    """Converts an output of the interpreter to real values.

    Quantized and floating-point outputs become float32. Other integers keep their dtype.
    """
    if spec.scale is not None:
        return np.float32(spec.scale) * (y.astype(np.float32) - np.float32(spec.zero_point))
    return y.astype(np.float32) if y.dtype.kind == "f" else np.array(y)
