"""A .tflite file as a teacher."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_distill._internal import InputError, _files
from keras_distill._internal._probabilities import probabilities_to_logits
from keras_distill._internal._types import Outputs, PathLike, Shape
from keras_distill.litert import LiteRTModel
from keras_distill.teachers._base import Teacher, run_on_host
from keras_distill.teachers._outputs import ONLY, outputs_by_name


class TFLiteTeacher(Teacher):
    """A .tflite file that LiteRT runs.

    Inside a graph it runs through `tf.numpy_function`: on the host, and not under XLA.

    Args:
        path: The file. Its outputs are logits, in float or quantized.
        probabilities: Whether its outputs are probabilities: then their logarithms serve as logits,
            which are equal up to a constant per example if no probability is rounded to 0.
        threads: Threads of the interpreter.

    Raises:
        InputError: If the file is not a readable .tflite file.
    """

    on_host = True

    def __init__(self, path: PathLike, *, probabilities: bool = False, threads: int = 1) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self._probabilities = probabilities
        self._model = LiteRTModel(path, threads=threads)
        shapes = {spec.name: (None, *spec.shape[1:]) for spec in self._model.outputs}
        several = len(shapes) > 1
        self._shapes: dict[str, Shape] = shapes if several else {ONLY: next(iter(shapes.values()))}
        self.output_shapes = self._shapes

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Outputs, Outputs]:
        """Runs the file; see `Teacher.outputs`. A file has no layers to read."""
        if layers:
            raise self.no_layers(layers)
        return run_on_host(self._run, x, self._shapes), {}

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the file."""
        return _files.sha256(self.path)

    def _run(self, x: Any) -> list[np.ndarray]:
        result = outputs_by_name(self._model.predict(x))
        values = [result[name] for name in self._shapes]
        if self._probabilities:
            return [probabilities_to_logits(v) for v in values]
        return values

    @property
    def needs_check(self) -> bool:
        """Whether the outputs may be probabilities, which the file does not say."""
        return not self._probabilities

    def checked_logits(self, x: Any) -> Outputs:
        """Returns the logits by output name; see `Teacher.checked_logits`."""
        return self.outputs(x)[0] if self._probabilities else super().checked_logits(x)

    def probabilities_error(self) -> InputError:
        """Returns the error for outputs that look like probabilities."""
        return InputError(
            f"{self.path}: the outputs look like probabilities, not logits. Export the model"
            " without its softmax, or pass probabilities=True."
        )
