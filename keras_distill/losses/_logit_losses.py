"""Losses on the logits of one example, as classes that store their settings.

The math is in `functional`. `_relation_losses` has the losses that compare the examples of a batch.
"""

from typing import Literal

import keras
import tensorflow as tf

from keras_distill._internal import InputError, check_choice, check_number
from keras_distill._internal._types import Schedule, Step, TeacherLogits, Tensor, TensorLike
from keras_distill.losses import functional
from keras_distill.losses._base import DistillationLoss
from keras_distill.losses._settings import PACKAGE, check_setting, value_at


@keras.saving.register_keras_serializable(PACKAGE)
class SoftTargetLoss(DistillationLoss):
    """Hinton's soft targets: T² · mean over the batch of KL(softmax(t/T) ‖ softmax(s/T)).

    The value is the divergence; its gradient equals the gradient of the cross-entropy. A `TopK`
    teacher is compared over its k classes and one outcome for all other classes
    (`functional.soft_target`).

    Source: Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), section 2.

    Args:
        temperature: T > 0, a number or a schedule of the step.

    Example:
        >>> loss = SoftTargetLoss(temperature=1.0)
        >>> round(float(loss.compute_loss([[2.0, 0.0]], [[0.0, 0.0]])), 3)
        0.328
    """

    compares_classes = True
    accepts_topk = True

    def __init__(self, temperature: Schedule = 4.0) -> None:
        self.temperature = check_setting("temperature", temperature, above=0)

    def per_example(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.soft_target`: `(...)` for logits `(..., N)`."""
        return functional.soft_target(teacher, student, value_at(self.temperature, step))


@keras.saving.register_keras_serializable(PACKAGE)
class StandardizedSoftTargetLoss(DistillationLoss):
    """`SoftTargetLoss` on standardized logits (z - mean)/(1e-7 + std); std divides by N-1.

    The logits of teacher and student are standardized. The student therefore matches the relations
    between the teacher's logits, not their scale. A `TopK` teacher is standardized exactly, because
    a `TopK` stores the mean and the variance. The gradient grows as 1/std of the student's logits:
    do not initialize the student's head with all-zero weights.

    Source: Sun, Ren, Li, Wang, Cao 2024 (logit standardization, arXiv:2403.01427), algorithm 1.

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

    def __init__(self, temperature: Schedule = 2.0) -> None:
        self.temperature = check_setting("temperature", temperature, above=0)

    def per_example(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.soft_target` of `functional.standardized` logits: `(...)`."""
        student = tf.convert_to_tensor(student)
        return functional.soft_target(
            functional.standardized(teacher, student.shape[-1]),
            functional.standardized(student),
            value_at(self.temperature, step),
        )


@keras.saving.register_keras_serializable(PACKAGE)
class ReverseKLLoss(DistillationLoss):
    """Reverse divergence: T² · mean over the batch of KL(softmax(s/T) ‖ softmax(t/T)).

    The student learns the teacher's main modes. Use this loss for a student that is too small to
    match the whole distribution. A `TopK` teacher is compared over its k classes and one outcome
    for all other classes.

    Source: Gu, Dong, Wei, Huang 2024 (MiniLLM, arXiv:2306.08543), section 2.1; T² as in
    Hinton 2015.

    Args:
        temperature: T > 0, a number or a schedule of the step.

    Example:
        >>> loss = ReverseKLLoss(temperature=1.0)
        >>> round(float(loss.compute_loss([[2.0, 0.0]], [[0.0, 0.0]])), 3)
        0.434
    """

    compares_classes = True
    accepts_topk = True
    takes_ruled_out = False

    def __init__(self, temperature: Schedule = 4.0) -> None:
        self.temperature = check_setting("temperature", temperature, above=0)

    def per_example(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.reverse_kl`: `(...)` for logits `(..., N)`."""
        return functional.reverse_kl(teacher, student, value_at(self.temperature, step))


@keras.saving.register_keras_serializable(PACKAGE)
class JensenShannonLoss(DistillationLoss):
    """Jensen-Shannon divergence: T² · mean over the batch of (KL(p ‖ m) + KL(q ‖ m))/2.

    p = softmax(t/T), q = softmax(s/T), m = (p + q)/2. The loss is symmetric and at most T² · ln 2
    per example, so examples on which the teacher is confidently wrong cannot dominate the batch. A
    `TopK` teacher is compared over its k classes and one outcome for all other classes.

    Source: Lin 1991 (IEEE Transactions on Information Theory 37), section IV; T² as in Hinton 2015.

    Args:
        temperature: T > 0, a number or a schedule of the step.

    Example:
        >>> loss = JensenShannonLoss(temperature=1.0)
        >>> round(float(loss.compute_loss([[2.0, 0.0]], [[0.0, 0.0]])), 3)
        0.09
    """

    compares_classes = True
    accepts_topk = True

    def __init__(self, temperature: Schedule = 4.0) -> None:
        self.temperature = check_setting("temperature", temperature, above=0)

    def per_example(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.jensen_shannon`: `(...)` for logits `(..., N)`."""
        return functional.jensen_shannon(teacher, student, value_at(self.temperature, step))


@keras.saving.register_keras_serializable(PACKAGE)
class MultiLabelSoftLoss(DistillationLoss):
    """Multi-label soft targets: T² · mean of KL(Bernoulli(σ(t/T)) ‖ Bernoulli(σ(s/T))).

    The mean is over batch and labels. There is one logit per label, as before a sigmoid activation.

    Source: Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), section 2, with two outcomes per label.

    Args:
        temperature: T > 0, a number or a schedule of the step.

    Example:
        >>> round(float(MultiLabelSoftLoss(1.0).compute_loss([[2.0, 0.0]], [[0.0, 0.0]])), 3)
        0.164
    """

    def __init__(self, temperature: Schedule = 4.0) -> None:
        self.temperature = check_setting("temperature", temperature, above=0)

    def per_example(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.multi_label_soft`: `(...)` for logits `(..., N)`."""
        return functional.multi_label_soft(teacher, student, value_at(self.temperature, step))


@keras.saving.register_keras_serializable(PACKAGE)
class LogitMatchingLoss(DistillationLoss):
    """Matches logits: mean over the batch of (1/2N) Σ_i (s_i - t_i)².

    This is the limit of `SoftTargetLoss` as T grows, for zero-mean logits. With a `TopK` teacher,
    the student matches its k logits and the mean of all other logits.

    Source: Bucilua, Caruana, Niculescu-Mizil 2006 (KDD); Hinton, Vinyals, Dean 2015
    (arXiv:1503.02531), section 2.1.

    Example:
        >>> float(LogitMatchingLoss().compute_loss([[1.0, -1.0]], [[0.0, 0.0]]))
        0.5
    """

    accepts_topk = True
    takes_ruled_out = False

    def per_example(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.logit_matching`: `(...)` for logits `(..., N)`."""
        return functional.logit_matching(teacher, student)


@keras.saving.register_keras_serializable(PACKAGE)
class RegressionLoss(DistillationLoss):
    """Matches the teacher's values: mean over batch and outputs of (s - t)², or of Huber's loss.

    Source: Gou, Yu, Maybank, Tao 2021 (survey, IJCV 129), section 2.1 (response-based knowledge);
    Huber 1964.

    Args:
        kind: "mse" or "huber".
        delta: Huber's delta > 0. The loss is quadratic below delta and linear above.

    Example:
        >>> float(RegressionLoss("huber").compute_loss([[0.0]], [[3.0]]))
        2.5
    """

    takes_ruled_out = False

    def __init__(self, kind: Literal["mse", "huber"] = "mse", delta: float = 1.0) -> None:
        self.kind = check_choice("kind", kind, ("mse", "huber"))
        self.delta = check_number("delta", delta, above=0)

    def per_example(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.regression`: `(...)` for values `(..., D)`, `(B,)` for `(B,)`."""
        delta = self.delta if self.kind == "huber" else None
        return functional.regression(teacher, student, delta)


@keras.saving.register_keras_serializable(PACKAGE)
class DecoupledLoss(DistillationLoss):
    """Decoupled distillation: T² · mean over the batch of (w_t · TCKD + w_n · NCKD).

    TCKD (target class) compares the probability of the labeled class with that of all other
    classes. NCKD (non-target classes) compares the other classes with each other. The loss needs
    labels; unlabeled examples (label -1) give 0.

    Source: Zhao, Cui, Song, Qiu, Liang 2022 (DKD, arXiv:2203.08679), section 3. T = 4 and w_n = 8
    are the paper's settings for CIFAR-100.

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
        target_weight: Schedule = 1.0,
        nontarget_weight: Schedule = 8.0,
        temperature: Schedule = 4.0,
    ) -> None:
        self.target_weight = check_setting("target_weight", target_weight, at_least=0)
        self.nontarget_weight = check_setting("nontarget_weight", nontarget_weight, at_least=0)
        self.temperature = check_setting("temperature", temperature, above=0)

    def per_example(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.decoupled`: `(...)` for logits `(..., N)`.

        Raises:
            InputError: If there are no labels, or their shape does not match.
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
