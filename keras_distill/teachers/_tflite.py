"""A .tflite file as a teacher."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_distill._internal import _files, check_choice
from keras_distill._internal._probabilities import DECLARATIONS, Declared
from keras_distill._internal._types import Outputs, PathLike, Shape
from keras_distill.litert import LiteRTModel, ParallelModel, probe
from keras_distill.teachers._base import Teacher, run_on_host
from keras_distill.teachers._heads import Head
from keras_distill.teachers._outputs import ONLY, outputs_by_name


class TFLiteTeacher(Teacher):
    """A .tflite file that LiteRT runs.

    If the file ends in SOFTMAX or LOGISTIC, the exact logits are read from the input of this
    operation. Inside a graph, the file runs through `tf.numpy_function`: on the host, and not under
    XLA.

    Args:
        path: The file, float or quantized. An 8-bit input for scaled images also accepts raw pixels
            (`litert.takes_pixels`).
        from_probabilities: Whether the outputs are probabilities and the file does not show it; see
            `as_teacher`. A probability that is rounded to 0 is replaced by half a quantization
            step.
        threads: Number of threads that share the rows of a batch, each with its own interpreter.
            None uses one thread per core of this process, at most 8. The logits do not depend on
            this number.

    Raises:
        InputError: If the file is not a readable .tflite file, or crashes the interpreter.
    """

    on_host = True

    def __init__(
        self, path: PathLike, *, from_probabilities: Declared = None, threads: int | None = None
    ) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self.from_probabilities = check_choice(
            "from_probabilities", from_probabilities, DECLARATIONS
        )
        probe(path)  # in a child: a damaged file can crash the interpreter, and this process
        self._model = ParallelModel(lambda: LiteRTModel(path, logits=True), threads=threads)
        first = self._model.first
        outputs = first.outputs
        keys = [spec.name if len(outputs) > 1 else ONLY for spec in outputs]
        self._shapes: dict[str, Shape] = {
            key: (None, *spec.shape[1:]) for key, spec in zip(keys, outputs, strict=True)
        }
        self.output_shapes = self._shapes
        self.heads = {
            key: Head(first.heads.get(spec.name, "unknown"), spec.name)
            for key, spec in zip(keys, outputs, strict=True)
        }
        self.steps = {
            key: spec.scale
            for key, spec in zip(keys, outputs, strict=True)
            if spec.scale is not None
        }

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Outputs, Outputs]:
        """Runs the file; see `Teacher.outputs`. A file has no layers to read."""
        if layers:
            raise self.no_layers(layers)
        return run_on_host(self._run, x, self._shapes), {}

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the file."""
        return _files.sha256(self.path)

    def _run(self, x: Any) -> list[np.ndarray]:
        result: Mapping[str, np.ndarray] = outputs_by_name(self._model.predict(x))
        return [result[name] for name in self._shapes]
