"""Relational knowledge distillation (RKD)."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill.losses import functional
from keras_distill.losses._base import PACKAGE, Setting, check_setting, value_at
from keras_distill.losses._feature_loss import FeatureLoss


@keras.saving.register_keras_serializable(PACKAGE)
class RelationalLoss(FeatureLoss):
    """w_d · smooth L1 of relative distances + w_a · smooth L1 of angles, over a batch.

    Distances are those of pairs, divided by their mean over distinct examples; angles are the
    cosines at the middle of triplets (memory grows as B³). Features of any two shapes compare,
    without a projector; there is no value per example. Source: Park, Kim, Lu, Cho 2019 (RKD,
    arXiv:1904.05068), section 3.2. Reproductions on CIFAR-100 weigh it 25 and 50.

    Args:
        teacher_layer_name: The teacher's layer; "outer/inner" reaches into a nested model.
        student_layer_name: The student's layer, named in the same way.
        distance_weight: w_d >= 0, a number or a schedule of the step.
        angle_weight: w_a >= 0, a number or a schedule of the step; 0 skips the triplets.

    Example:
        >>> loss = RelationalLoss("block3", "block1")
        >>> x = tf.constant([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
        >>> round(float(loss.compute_loss(x, 3 * x + 1)), 6)
        0.0
    """

    over_batch = True
    pools_positions = True

    def __init__(
        self,
        teacher_layer_name: str,
        student_layer_name: str,
        distance_weight: Setting = 1.0,
        angle_weight: Setting = 2.0,
    ) -> None:
        super().__init__(teacher_layer_name, student_layer_name)
        self.distance_weight = check_setting("distance_weight", distance_weight, at_least=0)
        self.angle_weight = check_setting("angle_weight", angle_weight, at_least=0)

    def value_of_rows(
        self, teacher: Any, student: Any, keep: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """`functional.relational`: a scalar for features `(B, ...)`."""
        return functional.relational(
            teacher,
            student,
            distance_weight=value_at(self.distance_weight, step),
            angle_weight=value_at(self.angle_weight, step),
            keep=keep,
        )
