"""Soft targets where an example may have several labels."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill.losses import functional
from keras_distill.losses._base import PACKAGE, DistillationLoss, Setting, check_setting, value_at


@keras.saving.register_keras_serializable(PACKAGE)
class MultiLabelSoftLoss(DistillationLoss):
    """T² · mean over batch and labels of KL(Bernoulli(σ(t/T)) ‖ Bernoulli(σ(s/T))).

    One logit per label, as under a sigmoid head. The soft targets of Hinton, Vinyals, Dean 2015
    for two outcomes per label.

    Args:
        temperature: T > 0, a number or a schedule of the step.

    Example:
        >>> round(float(MultiLabelSoftLoss(1.0).compute_loss([[2.0, 0.0]], [[0.0, 0.0]])), 3)
        0.164
    """

    def __init__(self, temperature: Setting = 4.0) -> None:
        self.temperature = check_setting("temperature", temperature, above=0)

    def per_example(
        self, teacher: Any, student: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """`functional.multi_label_soft`: `(...)` for logits `(..., N)`."""
        return functional.multi_label_soft(teacher, student, value_at(self.temperature, step))
