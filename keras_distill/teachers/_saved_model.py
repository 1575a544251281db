"""A SavedModel folder as a teacher."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill._internal._types import Outputs, PathLike, Shape
from keras_distill.teachers._base import Teacher, run_on_host
from keras_distill.teachers._outputs import ONLY


class SavedModelTeacher(Teacher):
    """A SavedModel folder, whose serving signature gives logits or probabilities.

    A child process loads and runs it, which is slow in every step: store its logits once.

    Args:
        path: The folder.

    Raises:
        InputError: If the folder is not a SavedModel that can be run.

    Example:
        >>> import keras, tempfile
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> model.export(folder := tempfile.mkdtemp() + "/served", verbose=False)
        >>> SavedModelTeacher(folder).predict(np.ones((2, 4), "float32")).shape
        (2, 3)
    """

    on_host = True

    def __init__(self, path: PathLike) -> None:
        self.path = path
        self._model = models.SavedModel(path)
        self.name = self._model.name
        self.input_shapes = [tuple(part.shape) for part in self._model.inputs]
        names = self._model.outputs
        self._keys = {(ONLY if len(names) == 1 else name): name for name in names}
        self._shapes: dict[str, Shape | None] = {
            key: self._model.output_shapes[name] for key, name in self._keys.items()
        }
        known = {key: shape for key, shape in self._shapes.items() if shape is not None}
        self.output_shapes = known if len(known) == len(names) else None

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Outputs, Outputs]:
        """Runs the signature; see `Teacher.outputs`. A SavedModel has no layers to read."""
        if layers:
            raise self.no_layers(layers)
        return run_on_host(self._run, x, self._shapes), {}

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the graph and the variables."""
        return self._model.fingerprint()

    def _run(self, x: Any) -> list[np.ndarray]:
        names = [part.name for part in self._model.inputs]
        given = dict(x) if isinstance(x, Mapping) else {names[0]: x}
        if sorted(given) != sorted(names):
            raise InputError(
                f"{self.path}: takes the inputs {', '.join(names)}. Received: {', '.join(given)}."
            )
        found = self._model.predict({name: np.asarray(part) for name, part in given.items()})
        return [np.asarray(found[name], np.float32) for name in self._keys.values()]
