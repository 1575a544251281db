"""Soft targets of standardized logits."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill.losses import functional
from keras_distill.losses._base import PACKAGE, DistillationLoss, Setting, check_setting, value_at


@keras.saving.register_keras_serializable(PACKAGE)
class StandardizedSoftTargetLoss(DistillationLoss):
    """`SoftTargetLoss` on (z - mean)/(1e-7 + std), of teacher and student, std with N-1.

    The student need not match the size of the teacher's logits, only their relations. A `TopK`
    teacher is standardized exactly, since it holds mean and variance. The gradient grows as 1/std
    of the student's logits: start from a head that is not all zeros. Source: Sun, Ren, Li, Wang,
    Cao 2024 (logit standardization, arXiv:2403.01427).

    Args:
        temperature: T > 0, a number or a schedule of the step.

    Example:
        >>> loss = StandardizedSoftTargetLoss()
        >>> float(loss.compute_loss([[3.0, 2.0, 1.0]], [[30.0, 20.0, 10.0]])) < 1e-5
        True
    """

    compares_classes = True
    accepts_topk = True
    takes_ruled_out = False

    def __init__(self, temperature: Setting = 2.0) -> None:
        self.temperature = check_setting("temperature", temperature, above=0)

    def per_example(
        self, teacher: Any, student: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """`functional.soft_target` of `functional.standardized` logits: `(...)`."""
        classes = tf.convert_to_tensor(student).shape[-1]
        return functional.soft_target(
            functional.standardized(teacher, classes),
            functional.standardized(student),
            value_at(self.temperature, step),
        )
