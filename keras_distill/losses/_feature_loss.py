"""What the losses on inner layers share: the two layers they read."""

from typing import Any

from keras_distill._internal import InputError, bad
from keras_distill.losses._base import DistillationLoss


class FeatureLoss(DistillationLoss):
    """A loss on the outputs of one layer of the teacher and one of the student.

    Args:
        teacher_layer_name: The teacher's layer; "outer/inner" reaches into a nested model.
        student_layer_name: The student's layer, named in the same way.
    """

    def __init__(self, teacher_layer_name: str, student_layer_name: str) -> None:
        self.teacher_layer_name = _layer_name("teacher_layer_name", teacher_layer_name)
        self.student_layer_name = _layer_name("student_layer_name", student_layer_name)

    def validate_shapes(self, teacher: tuple, student: tuple) -> None:
        """Features need a batch axis and one more; the rest may differ."""
        for name, shape in (("teacher", teacher), ("student", student)):
            if len(shape) < 2:
                raise InputError(
                    f"{type(self).__name__} needs features (batch, ...) of the {name}."
                    f" Received: {shape}."
                )


def _layer_name(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise bad(name, "be the name of a layer", value)
    return value
