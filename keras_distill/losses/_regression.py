"""Regression towards the teacher's value."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import check_choice, check_number
from keras_distill.losses import functional
from keras_distill.losses._base import PACKAGE, DistillationLoss


@keras.saving.register_keras_serializable(PACKAGE)
class RegressionLoss(DistillationLoss):
    """Mean over batch and outputs of (s - t)², or of Huber's loss.

    Source: Gou, Yu, Maybank, Tao 2021 (survey, IJCV 129), response-based knowledge; Huber 1964.

    Args:
        loss: "mse" or "huber".
        delta: Huber's delta > 0: quadratic up to it, linear beyond.

    Example:
        >>> float(RegressionLoss("huber").compute_loss([[0.0]], [[3.0]]))
        2.5
    """

    takes_ruled_out = False

    def __init__(self, loss: str = "mse", delta: float = 1.0) -> None:
        self.loss = check_choice("loss", loss, ("mse", "huber"))
        self.delta = check_number("delta", delta, above=0)

    def per_example(
        self, teacher: Any, student: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """`functional.regression`: `(...)` for values `(..., D)`, or `(B,)` for `(B,)`."""
        delta = self.delta if self.loss == "huber" else None
        return functional.regression(teacher, student, delta)
