"""The hard and the soft term of the training loss, without any model.

total = (1 - alpha) · hard + alpha · Σ w_i · L_i + the student's own regularisation. What is here
takes tensors only, so that a trainer of another kind (a tf_keras model in `compress`) can use it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_distill._checks import InputError
from keras_distill._elements import Targets, TopK
from keras_distill.losses import DistillationLoss, value_at

NOT_FINITE = "The teacher's logits hold NaN or infinity"


class View(NamedTuple):
    """What the losses see of a teacher or a student.

    Attributes:
        logits: A tensor `(B, ..., N)`, a `TopK`, or a dict of these by output name.
        features: Outputs of inner layers by name.
        mask: A Keras mask of the logits' leading shape, or a dict of these; None without one.
    """

    logits: Any
    features: dict[str, Any] = {}  # noqa: RUF012 (never written)
    mask: Any = None


def split(y: Any) -> Targets:
    """`y` as `Targets`: plain labels carry no teacher."""
    return y if isinstance(y, Targets) else Targets(y, None, None)


def output_names(outputs: Any) -> list[str]:
    """The names of a dict of outputs, `[""]` for a single one."""
    return list(outputs) if isinstance(outputs, dict) else [""]


def of_output(value: Any, name: str) -> Any:
    """The part of a value that belongs to the output: of a dict its entry, else all of it."""
    return value.get(name) if isinstance(value, dict) else value


def is_sparse(labels: Any, outputs: Any) -> bool:
    """Whether labels are class ids: the outputs' shape without the class axis, or 1 in its place.

    Args:
        labels: Anything with a shape.
        outputs: Anything with a shape; its class axis has 2 or more classes.
    """
    shape, rank = labels.shape, len(outputs.shape)
    if rank < 2 or outputs.shape[-1] is None or outputs.shape[-1] < 2:
        return False
    return len(shape) == rank - 1 or (len(shape) == rank and shape[-1] == 1)


def labelled_positions(labels: Any, outputs: Any, labelled: Any = None) -> Any:
    """Which positions have a label.

    Args:
        labels: The labels of one output. Class id -1 means that the position has none.
        outputs: The student's output.
        labelled: bool `(B,)`, or None.

    Returns:
        bool, of the labels' shape without a class axis (or `(B, 1, …)`); None where every position
        has a label.
    """
    mask = None
    rank = max(len(outputs.shape) - 1, 1)
    if is_sparse(labels, outputs):
        mask = tf.not_equal(labels, tf.cast(-1, labels.dtype)) if _signed(labels) else None
        if mask is not None and len(mask.shape) > rank:
            mask = tf.squeeze(mask, -1)
    if labelled is not None:
        labelled = align(tf.cast(labelled, tf.bool), rank)
        mask = labelled if mask is None else tf.logical_and(mask, labelled)
    return mask


def _signed(labels: Any) -> bool:
    return not tf.as_dtype(labels.dtype).is_unsigned and labels.dtype != tf.bool


def align(weights: Any, rank: int) -> Any:
    """Weights with trailing axes of 1 (or one less) to that rank, so that they broadcast."""
    if len(weights.shape) == rank + 1 and weights.shape[-1] == 1:
        return tf.squeeze(weights, -1)
    while len(weights.shape) < rank:
        weights = tf.expand_dims(weights, -1)
    return weights


def without_missing(labels: Any, mask: Any) -> Any:
    """Labels with 0 where the mask is false, so that no loss sees -1 or NaN."""
    if mask is None:
        return labels
    mask = align(mask, len(labels.shape))
    return tf.where(mask, labels, tf.zeros((), labels.dtype))


def weigh(mask: Any, sample_weight: Any, rank: int) -> Any:
    """The product of a labelled mask and sample weights, aligned to `rank`; None without both."""
    weights = None if mask is None else tf.cast(mask, tf.float32)
    if sample_weight is None:
        return weights
    sample_weight = align(tf.cast(sample_weight, tf.float32), rank)
    return sample_weight if weights is None else sample_weight * weights


def reduce_values(values: Any, sample_weight: Any = None, mask: Any = None) -> tf.Tensor:
    """Σ w·L / number of positions, as Keras reduces a loss.

    A mask weighs a valid position by positions/valid, so that the mean is over the valid ones.

    Args:
        values: `(B, ...)`, one value per position.
        sample_weight: Weights of the leading axes, or None.
        mask: bool of the leading axes, or None.

    Returns:
        A scalar.
    """
    rank = len(values.shape)
    if mask is not None:
        values *= align(mask_weights(mask, values.dtype), rank)
    if sample_weight is not None:
        values *= align(tf.cast(sample_weight, values.dtype), rank)
    return tf.reduce_mean(values)


def mask_weights(mask: Any, dtype: tf.DType) -> tf.Tensor:
    """A mask as weights: positions/valid where true, 0 where false, as Keras scales masks."""
    weights = tf.cast(mask, dtype)
    return weights * tf.math.divide_no_nan(tf.cast(tf.size(weights), dtype), tf.reduce_sum(weights))


def check_finite(teacher: Any) -> Any:
    """The teacher's logits, with an assertion that none is NaN or +inf (-inf rules a class out)."""
    if isinstance(teacher, dict):
        return {name: check_finite(value) for name, value in teacher.items()}
    tensor = teacher.logits if isinstance(teacher, TopK) else teacher
    good = tf.reduce_all(tensor <= tensor.dtype.max)
    with tf.control_dependencies([tf.debugging.Assert(good, [NOT_FINITE])]):
        checked = tf.identity(tensor)
    return teacher._replace(logits=checked) if isinstance(teacher, TopK) else checked


class SoftTerms:
    """Σ w_i · L_i over distillation losses.

    Args:
        losses: One per term.
        weights: Numbers or schedules of the step, one per term.
        outputs: The output each is for; None: every output that the student has.
        projectors: What the student's features pass through, one per term, None without.

    Example:
        >>> from keras_distill.losses import SoftTargetLoss
        >>> soft = SoftTerms([SoftTargetLoss(1.0)], [2.0], [None])
        >>> round(float(soft(View(tf.constant([[2.0, 0.0]])), View(tf.constant([[0.0, 0.0]])))), 3)
        0.656
    """

    def __init__(
        self,
        losses: Sequence[keras.distillation.DistillationLoss],
        weights: Sequence[Any],
        outputs: Sequence[str | None],
        projectors: Sequence[Any] | None = None,
    ) -> None:
        self.losses = list(losses)
        self.weights = list(weights)
        self.outputs = list(outputs)
        self.projectors = list(projectors) if projectors else [None] * len(self.losses)

    def layer_names(self, role: str) -> list[str]:
        """The layers the losses read of the "teacher" or of the "student", each once."""
        names = [layer_names(loss)[role == "student"] for loss in self.losses]
        return list(dict.fromkeys(name for name in names if name is not None))

    def __call__(
        self,
        teacher: View,
        student: View,
        labels: Any = None,
        sample_weight: Any = None,
        step: Any = None,
    ) -> tf.Tensor:
        """The sum, a scalar.

        Args:
            teacher: The teacher's logits and features.
            student: The student's, with its mask.
            labels: Labels, or a dict by output name, for the losses that read them.
            sample_weight: Weights, or a dict by output name.
            step: The optimizer's step, for schedules.

        Raises:
            InputError: If a loss cannot be computed from what is given.
        """
        total = 0.0
        for i, loss in enumerate(self.losses):
            value = self._value(i, loss, teacher, student, labels, sample_weight, step)
            weight = value_at(self.weights[i], step)
            total += value if weight == 1.0 and not tf.is_tensor(weight) else weight * value
        return total

    def _value(self, i, loss, teacher, student, labels, sample_weight, step):
        names = layer_names(loss)
        if names != (None, None):
            t = teacher.features[names[0]] if names[0] else teacher.logits
            s = student.features[names[1]] if names[1] else student.logits
            if self.projectors[i] is not None:
                s = self.projectors[i](s)
            mask = getattr(s, "_keras_mask", None)
            return _value_of(loss, t, s, labels, of_output(sample_weight, ""), mask, step)
        if not isinstance(loss, DistillationLoss):
            return _scalar(loss, teacher.logits, student.logits, sample_weight)
        wanted = output_names(student.logits) if self.outputs[i] is None else [self.outputs[i]]
        return tf.add_n(
            [
                _value_of(
                    loss,
                    of_output(teacher.logits, name),
                    of_output(student.logits, name),
                    of_output(labels, name),
                    of_output(sample_weight, name),
                    of_output(student.mask, name),
                    step,
                )
                for name in wanted
            ]
        )


def layer_names(loss: Any) -> tuple[str | None, str | None]:
    """The (teacher, student) layers a loss reads, None for logits."""
    if isinstance(loss, DistillationLoss | keras.distillation.FeatureDistillation):
        return loss.teacher_layer_name, loss.student_layer_name
    return None, None


def _value_of(loss, teacher, student, labels, sample_weight, mask, step):
    if not isinstance(loss, DistillationLoss):
        return _scalar(loss, teacher, student, sample_weight)
    if not loss.over_batch:
        values = loss.per_example(teacher, student, labels, step=step)
        if mask is not None and len(mask.shape) > len(values.shape):
            mask = None
        return reduce_values(values, sample_weight, mask)
    if mask is not None:
        weights = mask_weights(mask, tf.float32)
        rank = len(mask.shape)
        if sample_weight is not None:
            weights *= align(tf.cast(sample_weight, tf.float32), rank)
        sample_weight = weights
    return loss.over_batch_value(teacher, student, labels, sample_weight=sample_weight, step=step)


def _scalar(loss, teacher, student, sample_weight):
    """The value of a loss that is a subclass of Keras's class only: one scalar per batch."""
    if sample_weight is not None:
        raise InputError(
            f"{type(loss).__name__} gives one value per batch, so it cannot weigh examples."
            " Received: sample_weight or class_weight. Leave them out, or subclass"
            " keras_distill.losses.DistillationLoss."
        )
    loss.validate_outputs(teacher, student)
    return tf.cast(loss.compute_loss(teacher, student), tf.float32)


def agreement(teacher: Any, student: Any) -> tf.Tensor:
    """1 where teacher and student have the same largest logit, else 0: float `(...)`.

    Args:
        teacher: Logits `(..., N)` or a `TopK`.
        student: Logits `(..., N)`. With N = 1 the sign decides.
    """
    if student.shape[-1] == 1:
        same = tf.equal(teacher > 0, student > 0)[..., 0]
    else:
        best = teacher.indices[..., 0] if isinstance(teacher, TopK) else tf.argmax(teacher, -1)
        same = tf.equal(tf.cast(best, tf.int64), tf.argmax(student, -1))
    return tf.cast(same, tf.float32)
