"""Recognizes and converts arrays of other libraries: pandas, PyTorch, JAX, CuPy, Polars, …

Arrays are recognized only by NumPy's `__array__` and DLPack's `__dlpack__`, so that none of these
libraries is imported.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from keras_distill._internal import InputError
from keras_distill._internal._types import Array

_SCALARS = (bool, int, float, str, bytes, np.generic)
_DEPTH = 32


@runtime_checkable
class SupportsArray(Protocol):
    """An object that NumPy can convert to an array."""

    def __array__(self) -> Any:
        """Returns a NumPy array."""


@runtime_checkable
class SupportsDLPack(Protocol):
    """An object that supports the DLPack protocol."""

    def __dlpack__(self) -> Any:
        """Returns a capsule that refers to the memory."""

    def __dlpack_device__(self) -> Any:
        """Returns the device of the memory."""


def is_array_like(value: object) -> bool:
    """Returns whether a value is one array: of any library, or nested lists of numbers or text.

    A tuple is not one array but a structure of several arrays, as in Keras.

    Example:
        >>> is_array_like([1, 2]), is_array_like([np.ones(2), np.ones(2)]), is_array_like(3)
        (True, False, False)
    """
    if isinstance(value, np.generic):
        return False
    if isinstance(value, SupportsArray | SupportsDLPack):
        return True
    return isinstance(value, list) and _are_numbers(value)


def _are_numbers(value: object, depth: int = 0) -> bool:
    """Returns whether a value is a list of numbers or text, or of such lists."""
    # A NamedTuple is a structure of several arrays.
    if type(value) not in (list, tuple) or not value or depth > _DEPTH:
        return False
    assert isinstance(value, list | tuple)
    return all(isinstance(part, _SCALARS) for part in value) or all(
        _are_numbers(part, depth + 1) for part in value
    )


def to_array(name: str, value: Any) -> Array:
    """Converts an array of any library, or nested lists, to a NumPy array.

    Args:
        name: The name of the argument, for error messages.
        value: The array.

    Raises:
        InputError: If the value cannot be converted, or its rows differ in length.

    Example:
        >>> to_array("y", [0, 2, 1]).tolist()
        [0, 2, 1]
    """
    try:
        array = value if isinstance(value, np.ndarray) else _converted(value)
    except Exception as error:  # each library raises its own exceptions
        reason = " ".join(str(error).split())
        raise InputError(
            f"`{name}` must be an array that NumPy can read. Received: a"
            f" {type(value).__module__}.{type(value).__name__} ({reason:.120}). Convert it first,"
            " such as by x.detach().cpu().numpy(), or pad rows of different lengths."
        ) from error
    if array.dtype == object and array.size and all(isinstance(v, str) for v in array.flat):
        return array.astype(str)
    return array


def _converted(value: Any) -> Array:
    if isinstance(value, SupportsDLPack) and not isinstance(value, SupportsArray):
        foreign: Any = value  # its annotation requires arguments that NumPy does not need
        return np.from_dlpack(foreign)
    return np.asarray(value)


def as_arrays(name: str, value: Any) -> Any:
    """Converts the arrays of other libraries in a structure to NumPy arrays.

    Dicts, tuples, named tuples, and lists of several arrays keep their structure. TensorFlow and
    Keras tensors, and everything that is not an array, such as a data set, are returned unchanged.

    Args:
        name: The name of the argument, for error messages.
        value: An array, or a structure of arrays.

    Raises:
        InputError: See `to_array`.

    Example:
        >>> as_arrays("x", {"a": [1.0, 2.0], "b": None})["a"].dtype.name
        'float64'
    """
    if isinstance(value, np.ndarray) or value is None:
        return value
    if type(value).__module__.partition(".")[0] in ("tensorflow", "keras"):
        return value  # Keras supports these tensors, variables, and data sets
    if is_array_like(value):
        return to_array(name, value)
    if isinstance(value, Mapping):
        return {key: as_arrays(name, part) for key, part in value.items()}
    if isinstance(value, tuple) and type(value) is not tuple:
        return type(value)(*(as_arrays(name, part) for part in value))
    if isinstance(value, list | tuple):
        return type(value)(as_arrays(name, part) for part in value)
    return value
