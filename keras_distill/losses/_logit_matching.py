"""Logit matching: what soft targets become at a high temperature."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill.losses import functional
from keras_distill.losses._base import PACKAGE, DistillationLoss


@keras.saving.register_keras_serializable(PACKAGE)
class LogitMatchingLoss(DistillationLoss):
    """Mean over the batch of (1/2N) Σ_i (s_i - t_i)².

    The limit of `SoftTargetLoss` as T grows, for zero-meaned logits. Of a `TopK` teacher the kept
    logits and the mean of the rest are matched. Source: Bucilua, Caruana, Niculescu-Mizil 2006;
    Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), section 2.1.

    Example:
        >>> float(LogitMatchingLoss().compute_loss([[1.0, -1.0]], [[0.0, 0.0]]))
        0.5
    """

    accepts_topk = True

    takes_ruled_out = False

    def per_example(
        self, teacher: Any, student: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """`functional.logit_matching`: `(...)` for logits `(..., N)`."""
        return functional.logit_matching(teacher, student)
