"""The student's side of a Distiller: one pass gives outputs, logits, features and masks."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_distill._internal._keras_private import mask_of
from keras_distill.teachers import _graph
from keras_distill.teachers._base import map_outputs, named
from keras_distill.teachers._heads import logits_of, symbolic_outputs
from keras_distill.teachers._keras_teacher import heads_by_output, output_names
from keras_distill.training import _terms


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
        self.names = output_names(student)
        self.heads = heads_by_output(student, "student")
        self.layers = {name: _graph.find_layer(student, name, "student") for name in layers}

    def call(self, x: Any, training: bool | None) -> tuple[Any, dict[str, Any]]:
        """The outputs as the student gives them, and the layers' outputs by name."""
        if not self.layers:
            return self.student(x, training=training), {}
        outputs, features = _graph.run(self.student, x, list(self.layers.values()), training)
        return outputs, dict(zip(self.layers, features, strict=True))

    def view(self, outputs: Any, features: dict[str, Any]) -> _terms.View:
        """The logits behind the outputs, with their masks."""
        outputs = named(outputs, self.names)
        logits = map_outputs(lambda y, head: logits_of(y, head, "student"), outputs, self.heads)
        return _terms.View(logits, features, map_outputs(mask_of, outputs))

    def symbolic(self) -> Any:
        """The symbolic outputs by name, None for a student without a graph."""
        outputs = symbolic_outputs(self.student)
        return None if outputs is None else named(outputs, self.names)

    def input_shapes(self) -> list[tuple] | None:
        """Shapes `(None, ...)` of the inputs, None for a student without a graph."""
        if symbolic_outputs(self.student) is None:
            return None
        return [tuple(tensor.shape) for tensor in self.student.inputs]
