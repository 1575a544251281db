"""Decoupled knowledge distillation (DKD)."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.losses import functional
from keras_distill.losses._base import PACKAGE, DistillationLoss, Setting, check_setting, value_at


@keras.saving.register_keras_serializable(PACKAGE)
class DecoupledLoss(DistillationLoss):
    """T² · mean over the batch of (w_t · TCKD + w_n · NCKD); needs labels.

    TCKD compares the probability of the label against all others, NCKD the others among
    themselves. Unlabeled examples (label -1) give 0. Source: Zhao, Cui, Song, Qiu, Liang 2022
    (DKD, arXiv:2203.08679), section 3; T = 4 and w_n = 8 are theirs for CIFAR-100.

    Args:
        target_weight: w_t >= 0, a number or a schedule of the step.
        nontarget_weight: w_n >= 0, a number or a schedule of the step.
        temperature: T > 0, a number or a schedule of the step.

    Example:
        >>> loss = DecoupledLoss(temperature=1.0)
        >>> t, s = [[3.0, 1.0, 0.0]], [[2.0, 0.0, 0.0]]
        >>> round(float(loss.compute_loss(t, s, labels=[0])), 3)
        0.898
    """

    compares_classes = True
    needs_labels = True

    def __init__(
        self,
        target_weight: Setting = 1.0,
        nontarget_weight: Setting = 8.0,
        temperature: Setting = 4.0,
    ) -> None:
        self.target_weight = check_setting("target_weight", target_weight, at_least=0)
        self.nontarget_weight = check_setting("nontarget_weight", nontarget_weight, at_least=0)
        self.temperature = check_setting("temperature", temperature, above=0)

    def per_example(
        self, teacher: Any, student: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """`functional.decoupled`: `(...)` for logits `(..., N)` and class ids or one-hot rows.

        Raises:
            InputError: If there are no labels, or their shape does not fit.
        """
        if labels is None:
            raise InputError("DecoupledLoss needs labels. Received: labels=None.")
        return functional.decoupled(
            teacher,
            student,
            labels,
            temperature=value_at(self.temperature, step),
            target_weight=value_at(self.target_weight, step),
            nontarget_weight=value_at(self.nontarget_weight, step),
        )
