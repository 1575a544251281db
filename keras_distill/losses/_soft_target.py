"""Hinton's soft targets."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill.losses import functional
from keras_distill.losses._base import PACKAGE, DistillationLoss, Setting, check_setting, value_at


@keras.saving.register_keras_serializable(PACKAGE)
class SoftTargetLoss(DistillationLoss):
    """T² · mean over the batch of KL(softmax(t/T) ‖ softmax(s/T)).

    Source: Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), section 2. Reported is the divergence,
    whose gradient is the cross-entropy's. A `TopK` teacher is compared over the k classes kept and
    "any other" (`functional.soft_target`).

    Args:
        temperature: T > 0, a number or a schedule of the step.

    Example:
        >>> loss = SoftTargetLoss(temperature=1.0)
        >>> round(float(loss.compute_loss([[2.0, 0.0]], [[0.0, 0.0]])), 3)
        0.328
    """

    compares_classes = True
    accepts_topk = True

    def __init__(self, temperature: Setting = 4.0) -> None:
        self.temperature = check_setting("temperature", temperature, above=0)

    def per_example(
        self, teacher: Any, student: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """`functional.soft_target`: `(...)` for logits `(..., N)`."""
        return functional.soft_target(teacher, student, value_at(self.temperature, step))
