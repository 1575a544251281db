"""A .tflite file as a teacher."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_distill._internal import InputError, _files
from keras_distill.litert import LiteRTModel
from keras_distill.teachers._base import Teacher, run_on_host
from keras_distill.teachers._heads import look_like_probabilities


class TFLiteTeacher(Teacher):
    """A .tflite file, run by LiteRT.

    Inside a graph it runs through `tf.numpy_function`: on the host, and not under XLA.

    Args:
        path: The file. Its outputs are logits, in float or quantized.
        probabilities: Its outputs are probabilities: their logarithms are taken for logits, which
            is the same up to a constant per example as long as no probability is rounded to 0.
        threads: Threads of the interpreter.

    Raises:
        InputError: If the file is not a readable .tflite file.
    """

    on_host = True

    def __init__(
        self, path: str | os.PathLike, *, probabilities: bool = False, threads: int = 1
    ) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self._probabilities = probabilities
        self._model = LiteRTModel(path, threads=threads)
        self._names = [spec.name for spec in self._model.outputs]
        shapes = [(None, *spec.shape[1:]) for spec in self._model.outputs]
        several = len(shapes) > 1
        self.output_shapes = dict(zip(self._names, shapes, strict=True)) if several else shapes[0]

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Any, dict[str, Any]]:
        """The file's logits; see `Teacher.outputs`. A file has no layers to read."""
        if layers:
            raise self.no_layers(layers)
        return run_on_host(self._run, x, self._names, self.output_shapes), {}

    def fingerprint(self) -> str:
        """sha256 of the file."""
        return _files.sha256(self.path)

    def _run(self, x: Any) -> list[np.ndarray]:
        result = self._model.predict(x)
        values = [result[n] for n in self._names] if isinstance(result, dict) else [result]
        if self._probabilities:
            return [np.log(np.maximum(v, np.finfo(np.float32).tiny)) for v in values]
        return values

    @property
    def uncertain(self) -> bool:
        """A file does not tell logits from probabilities."""
        return not self._probabilities

    def _check_output(self, values: Any) -> None:
        if not self._probabilities and look_like_probabilities(values):
            raise InputError(
                f"{self.path}: the outputs look like probabilities, not logits. Export the model"
                " without its softmax, or pass probabilities=True."
            )
