"""DIST: match relations instead of values."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill.losses import functional
from keras_distill.losses._base import PACKAGE, DistillationLoss, Setting, check_setting, value_at


@keras.saving.register_keras_serializable(PACKAGE)
class DISTLoss(DistillationLoss):
    """T² · (w_inter · mean(1 - ρ of rows) + w_intra · mean(1 - ρ of columns)).

    ρ is Pearson's correlation of the teacher's and the student's softmax(z/T), over the classes
    of an example (rows) and over the examples of a class (columns). The columns need the batch, so
    there is no value per example; sequences and maps count every position as a row. Source: Huang,
    You, Wang, Qian, Xu 2022 (arXiv:2205.10536), section 4.

    Args:
        inter_weight: w_inter >= 0, a number or a schedule of the step.
        intra_weight: w_intra >= 0, a number or a schedule of the step.
        temperature: T > 0, a number or a schedule of the step.

    Example:
        >>> t = [[2.0, 1.0, 0.0], [0.0, 2.0, 1.0]]
        >>> s = [[0.0, 1.0, 2.0], [1.0, 2.0, 0.0]]
        >>> round(float(DISTLoss().compute_loss(t, s)), 3)
        2.334
    """

    compares_classes = True
    over_batch = True

    def __init__(
        self,
        inter_weight: Setting = 1.0,
        intra_weight: Setting = 1.0,
        temperature: Setting = 1.0,
    ) -> None:
        self.inter_weight = check_setting("inter_weight", inter_weight, at_least=0)
        self.intra_weight = check_setting("intra_weight", intra_weight, at_least=0)
        self.temperature = check_setting("temperature", temperature, above=0)

    def value_of_rows(
        self, teacher: Any, student: Any, keep: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """`functional.dist`: a scalar for logits `(..., N)`."""
        return functional.dist(
            teacher,
            student,
            temperature=value_at(self.temperature, step),
            inter_weight=value_at(self.inter_weight, step),
            intra_weight=value_at(self.intra_weight, step),
            keep=keep,
        )
