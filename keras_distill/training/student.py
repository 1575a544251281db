"""The student's side of a Distiller: one pass gives outputs, logits, features and masks."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_distill.teachers import graph
from keras_distill.teachers.base import named
from keras_distill.teachers.heads import UNKNOWN, Head, logits_of
from keras_distill.teachers.keras_teacher import find_heads_by_output
from keras_distill.teachers.keras_teacher import output_names as names_of
from keras_distill.training import terms


class StudentReader:
    """Reads what the losses need from a student, without a second pass and without changing it.

    It is a plain object, so that Keras does not track the layers it holds a second time.

    Args:
        student: The student.
        layers: Names of layers to read.

    Raises:
        InputError: If its head cannot be undone, or a layer is not there.
    """

    def __init__(self, student: keras.Model, layers: Sequence[str]) -> None:
        self.student = student
        self.names = names_of(student)
        self.heads = find_heads_by_output(student, "student")
        self.layer_names = list(layers)
        self._layers = [graph.find_layer(student, name, "student") for name in layers]

    def call(self, x: Any, training: bool | None) -> tuple[Any, dict[str, Any]]:
        """The outputs as the student gives them, and the layers' outputs by name."""
        if not self._layers:
            return self.student(x, training=training), {}
        outputs, features = graph.run(self.student, x, self._layers, training)
        return outputs, dict(zip(self.layer_names, features, strict=True))

    def view(self, outputs: Any, features: dict[str, Any]) -> terms.View:
        """The logits behind the outputs, with their masks."""
        outputs = named(outputs, self.names)
        if not isinstance(outputs, dict):
            logits = logits_of(outputs, self.head(""), "student")
            return terms.View(logits, features, mask_of(outputs))
        logits = {k: logits_of(v, self.head(k), "student") for k, v in outputs.items()}
        return terms.View(logits, features, {k: mask_of(v) for k, v in outputs.items()})

    def head(self, name: str) -> Head:
        """The head of an output, "" for the only one."""
        return self.heads.get(name, UNKNOWN) if isinstance(self.heads, dict) else self.heads

    def feature_shape(self, name: str) -> tuple:
        """The shape `(None, ...)` of a layer's output."""
        return graph.layer_shape(self._layers[self.layer_names.index(name)])


def mask_of(tensor: Any) -> Any:
    """The mask Keras hung on a tensor, None without one."""
    return getattr(tensor, "_keras_mask", None)
