"""Similarity-preserving distillation (SP)."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill.losses import functional
from keras_distill.losses._base import PACKAGE
from keras_distill.losses._feature_loss import FeatureLoss


@keras.saving.register_keras_serializable(PACKAGE)
class SimilarityLoss(FeatureLoss):
    """Σ (G(s) - G(t))² / B², with G the examples' Gram matrix, rows divided by their L2 norm.

    Features of any two shapes compare, without a projector; there is no value per example.
    Source: Tung, Mori 2019 (SP, arXiv:1907.09682), section 3.1.

    Args:
        teacher_layer_name: The teacher's layer; "outer/inner" reaches into a nested model.
        student_layer_name: The student's layer, named in the same way.

    Example:
        >>> loss = SimilarityLoss("block3", "block1")
        >>> float(loss.compute_loss([[1.0, 0.0], [0.0, 1.0]], [[2.0], [1.0]])) > 0
        True
    """

    over_batch = True
    pools_positions = True

    def value_of_rows(
        self, teacher: Any, student: Any, keep: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """`functional.similarity`: a scalar for features `(B, ...)`."""
        return functional.similarity(teacher, student, keep)
