"""Attention transfer: where the features are large."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.losses import functional
from keras_distill.losses._base import PACKAGE, known_differ
from keras_distill.losses._feature_loss import FeatureLoss


@keras.saving.register_keras_serializable(PACKAGE)
class AttentionTransferLoss(FeatureLoss):
    """Mean over batch and positions of (A(s) - A(t))².

    A is the mean of the squared channels by position, flattened and divided by its L2 norm, so
    channels may differ in number and no projector is needed; the positions must agree. Source:
    Zagoruyko, Komodakis 2017 (AT, arXiv:1612.03928), section 3.1, p = 2. The mean makes the value
    small: reproductions weigh it by 1,000.

    Args:
        teacher_layer_name: The teacher's layer; "outer/inner" reaches into a nested model.
        student_layer_name: The student's layer, named in the same way.

    Example:
        >>> loss = AttentionTransferLoss("block3", "block1")
        >>> float(loss.compute_loss([[[1.0, 1.0], [0.0, 0.0]]], [[[0.0], [2.0]]]))
        1.0
    """

    pools_positions = True

    def per_example(
        self, teacher: Any, student: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """`functional.attention_transfer`: `(B,)`."""
        return functional.attention_transfer(teacher, student)

    def validate_shapes(self, teacher: tuple, student: tuple) -> None:
        """Features need positions, and as many of them in every axis."""
        places = teacher[:-1], student[:-1]
        if min(map(len, places)) < 2 or len(teacher) != len(student) or known_differ(*places):
            raise InputError(
                "AttentionTransferLoss needs features (batch, positions..., channels) that agree in"
                f" everything but channels. Received: teacher {teacher}, student {student}."
                " Name layers of one resolution, or use SimilarityLoss."
            )
