"""Losses that compare the logits of a batch, as classes; the math is in `functional`."""

from collections.abc import Sequence

import keras

from keras_distill._internal import bad, check_number
from keras_distill._internal._types import Schedule, Step, TeacherLogits, Tensor, TensorLike
from keras_distill.losses import functional
from keras_distill.losses._base import DistillationLoss
from keras_distill.losses._settings import PACKAGE, check_setting, value_at


@keras.saving.register_keras_serializable(PACKAGE)
class DISTLoss(DistillationLoss):
    """Matches correlations: T² · (w_inter · mean_rows(1 - ρ) + w_intra · mean_columns(1 - ρ)).

    ρ is the Pearson correlation between the teacher's and the student's softmax(z/T), over the
    classes of an example (rows) and over the examples of a class (columns). The columns need the
    whole batch, so there is no value per example. In sequences and maps, every position is a row.

    Source: Huang, You, Wang, Qian, Xu 2022 (DIST, arXiv:2205.10536), section 4.

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
        inter_weight: Schedule = 1.0,
        intra_weight: Schedule = 1.0,
        temperature: Schedule = 1.0,
    ) -> None:
        self.inter_weight = check_setting("inter_weight", inter_weight, at_least=0)
        self.intra_weight = check_setting("intra_weight", intra_weight, at_least=0)
        self.temperature = check_setting("temperature", temperature, above=0)

    def value_of_rows(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        keep: Tensor | None,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.dist`: a scalar for logits `(..., N)`."""
        return functional.dist(
            teacher,
            student,
            temperature=value_at(self.temperature, step),
            inter_weight=value_at(self.inter_weight, step),
            intra_weight=value_at(self.intra_weight, step),
            keep=keep,
        )


@keras.saving.register_keras_serializable(PACKAGE)
class MultiLevelLoss(DistillationLoss):
    """Multi-level logit distillation: the divergence, and Gram matrices of examples and classes.

    Σ_T (w_i · T² · KL + w_b · ‖P·Pᵀ - Q·Qᵀ‖²/B + w_c · ‖Pᵀ·P - Qᵀ·Q‖²/N), where the rows of P and
    Q are softmax(t/T) and softmax(s/T). The terms of all temperatures are summed, so the value is
    several times that of `SoftTargetLoss`. In sequences and maps, every position is a row, and the
    batch-level term holds rows x rows values. There is no value per example.

    Source: Jin, Wang, Lin 2023 (Multi-Level Logit Distillation, CVPR), section 3. `standardize`
    adds logit standardization: Sun et al. 2024 (arXiv:2403.01427), algorithm 1.

    Args:
        temperatures: One or more numbers T > 0.
        instance_weight: w_i >= 0, a number or a schedule of the step.
        batch_weight: w_b >= 0, a number or a schedule of the step.
        class_weight: w_c >= 0, a number or a schedule of the step.
        standardize: Whether to standardize the logits first, as `StandardizedSoftTargetLoss` does.

    Example:
        >>> t, s = [[2.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]
        >>> round(float(MultiLevelLoss([1.0]).compute_loss(t, s)), 3)
        0.664
    """

    compares_classes = True
    over_batch = True

    def __init__(
        self,
        temperatures: Sequence[float] = (2.0, 3.0, 4.0, 5.0, 6.0),
        instance_weight: Schedule = 1.0,
        batch_weight: Schedule = 1.0,
        class_weight: Schedule = 1.0,
        standardize: bool = False,
    ) -> None:
        if not isinstance(temperatures, list | tuple) or not temperatures:
            raise bad("temperatures", "be a list of one or more numbers", temperatures)
        self.temperatures = [
            check_number(f"temperatures[{i}]", value, above=0)
            for i, value in enumerate(temperatures)
        ]
        self.instance_weight = check_setting("instance_weight", instance_weight, at_least=0)
        self.batch_weight = check_setting("batch_weight", batch_weight, at_least=0)
        self.class_weight = check_setting("class_weight", class_weight, at_least=0)
        self.standardize = bool(standardize)
        self.takes_ruled_out = not self.standardize

    def value_of_rows(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        keep: Tensor | None,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.multi_level`: a scalar for logits `(..., N)`."""
        return functional.multi_level(
            teacher,
            student,
            temperatures=self.temperatures,
            instance_weight=value_at(self.instance_weight, step),
            batch_weight=value_at(self.batch_weight, step),
            class_weight=value_at(self.class_weight, step),
            standardize=self.standardize,
            keep=keep,
        )
