"""Hints: the student's features are led to the teacher's."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.losses import functional
from keras_distill.losses._base import PACKAGE, known_differ
from keras_distill.losses._feature_loss import FeatureLoss


@keras.saving.register_keras_serializable(PACKAGE)
class HintLoss(FeatureLoss):
    """Mean of (s - t)² over batch, positions and channels, s through a projector if shapes differ.

    Source: Romero et al. 2015 (FitNets, arXiv:1412.6550), section 2.1.

    Args:
        teacher_layer_name: The teacher's layer; "outer/inner" reaches into a nested model.
        student_layer_name: The student's layer, named in the same way.

    Example:
        >>> loss = HintLoss("block3", "block1")
        >>> float(loss.compute_loss([[1.0, 2.0]], [[1.0, 0.0]]))
        2.0
        >>> loss.projector((None, 8), (None, 4)).units
        8
    """

    def per_example(
        self, teacher: Any, student: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """`functional.hint`: a value per position, `(...)` for features `(..., C)`."""
        return functional.hint(teacher, student)

    def projector(self, teacher_shape: tuple, student_shape: tuple) -> keras.layers.Layer | None:
        """The layer that brings the student's features to the teacher's shape.

        Maps `(B, H, W, C)` get a 1x1 convolution to the teacher's channels, everything else a
        Dense on the last axis. Maps of another height or width are then resized to the teacher's,
        bilinearly; the teacher's features are left as they are.

        Args:
            teacher_shape: With the batch axis; None for what is not known, taken to be equal.
            student_shape: The same.

        Returns:
            A new, unbuilt layer, or None where the shapes agree.

        Raises:
            InputError: If the shapes differ in rank, in channels that are not known, or in a
                position axis of features that are no maps.
        """
        if len(teacher_shape) != len(student_shape) or teacher_shape[-1] is None:
            raise InputError(
                "HintLoss needs features of one rank, with known channels."
                f" Received: teacher {teacher_shape}, student {student_shape}."
                " Pool or flatten one of them, or name other layers."
            )
        same_places = not known_differ(teacher_shape[1:-1], student_shape[1:-1])
        if same_places and teacher_shape[-1] == student_shape[-1]:
            return None
        if len(teacher_shape) != 4 and not same_places:
            raise InputError(
                "HintLoss can resize maps (B, H, W, C) only."
                f" Received: teacher {teacher_shape}, student {student_shape}."
            )
        channels = teacher_shape[-1]
        if len(teacher_shape) != 4:
            return keras.layers.Dense(channels, name="projector")
        convolution = keras.layers.Conv2D(channels, 1, data_format="channels_last")
        if same_places:
            return convolution
        height, width = teacher_shape[1:3]
        resizing = keras.layers.Resizing(height, width, data_format="channels_last")
        return keras.Sequential([convolution, resizing], name="projector")

    def validate_shapes(self, teacher: tuple, student: tuple) -> None:
        """Features must agree in every axis, after the projector if there is one."""
        if len(teacher) != len(student) or known_differ(teacher, student):
            raise InputError(
                "HintLoss compares features of the same shape."
                f" Received: teacher {teacher}, student {student}."
                " Use keras_distill's Distiller, which trains a projector, or name other layers."
            )
