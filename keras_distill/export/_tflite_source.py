"""Presents a `.tflite` file of any origin as a model. The file runs in a child process."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_distill._internal._signatures import InputInfo
from keras_distill._internal._types import Array, PathLike
from keras_distill.litert import predict_isolated, probe
from keras_distill.losses import known_differ


class TFLiteSource:
    """A `.tflite` file with flat, named inputs and outputs.

    Args:
        path: The file.

    Attributes:
        path: The path of the file.
        name: Name of the file.
        inputs: The inputs of the file. Quantized inputs take real values.
        outputs: Names of the outputs.
        specs: What the file states about its inputs and outputs.

    Raises:
        InputError: See `litert.probe`.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.specs = probe(self.path)
        self.inputs = tuple(
            InputInfo(i.name, i.shape, "float32" if i.scale else i.dtype) for i in self.specs.inputs
        )
        self.outputs = tuple(o.name for o in self.specs.outputs)

    def predict(self, x: Mapping[str, Array]) -> dict[str, Array]:
        """Returns the outputs on all of `x` by name, dequantized to real values."""
        rows: Any = dict(x) if len(x) > 1 else next(iter(x.values()))
        y = predict_isolated(self.path, rows, threads=os.cpu_count() or 1)
        return y if isinstance(y, dict) else {self.outputs[0]: y}


def same_inputs(a: Sequence[InputInfo], b: Sequence[InputInfo]) -> bool:
    """Returns whether inputs have the same shapes and, if there are several, the same names."""
    if len(a) > 1:
        a, b = sorted(a), sorted(b)
        if [i.name for i in a] != [i.name for i in b]:
            return False
    if len(a) != len(b):
        return False
    shapes = [(i.shape[1:], j.shape[1:]) for i, j in zip(a, b, strict=True)]
    return all(len(s) == len(t) and not known_differ(s, t) for s, t in shapes)


def shown_inputs(inputs: Sequence[InputInfo]) -> str:
    """Describes inputs for a message."""
    shapes = [f"{i.name!r} of shape {i.shape[1:]}" for i in inputs]
    return f"the input{'s' if len(shapes) > 1 else ''} {', '.join(shapes)}"
