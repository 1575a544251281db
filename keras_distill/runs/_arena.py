"""Measures the memory that a file needs on a microcontroller, which a budget may limit."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_distill._internal._types import Array
from keras_distill.device import check_installed, check_targets
from keras_distill.litert import probe
from keras_distill.records import TFLMResult

_TARGET = "tflm"


class Arena(NamedTuple):
    """The result of running a file in TensorFlow Lite for Microcontrollers.

    Attributes:
        bytes: The smallest arena in which the file runs; None if it does not run.
        reason: The reason why the file does not run; None if it runs.
    """

    bytes: int | None
    reason: str | None


def check_runtime() -> None:
    """Checks that TensorFlow Lite for Microcontrollers is installed.

    Raises:
        MissingExtraError: If it is not installed. The message has the pip command.
    """
    check_installed((_TARGET,))


def arena_of(path: Path) -> Arena:
    """Runs a file in TensorFlow Lite for Microcontrollers.

    Args:
        path: The file.

    Raises:
        MissingExtraError: If tflite-micro is not installed.
    """
    (result,) = check_targets(path, zero_row(path), (_TARGET,))
    assert isinstance(result, TFLMResult)  # the result type of this target
    if result.arena is None:
        return Arena(None, f"{result.operator or 'an operator'}: {result.reason}")
    return Arena(result.arena.needed or result.arena.total, None)


def zero_row(path: Path) -> dict[str, Array]:
    """Returns one row of zeros for each input of a file, by name.

    Args:
        path: The file.
    """
    x: dict[str, Array] = {}
    for spec in probe(path).inputs:
        shape = (1, *(size or 1 for size in spec.shape[1:]))
        x[spec.name] = np.zeros(shape, spec.dtype if spec.scale is None else "float32")
    return x


def arena_failure(arena: Arena, most: int) -> str | None:
    """Returns why a file exceeds the budget of the arena; None if it is within the budget.

    Args:
        arena: The result of `arena_of`.
        most: The maximum size of the arena, in bytes.

    Example:
        >>> arena_failure(Arena(70_000, None), 65_536)
        'an arena of 70,000 bytes, more than 65,536'
    """
    if arena.bytes is None:
        return f"it does not run on a microcontroller ({arena.reason})"
    if arena.bytes > most:
        return f"an arena of {arena.bytes:,} bytes, more than {most:,}"
    return None
