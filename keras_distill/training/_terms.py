"""The hard and the soft term of the training loss, without any model.

total = (1 - alpha) · hard + alpha · Σ w_i · L_i + the student's own regularization. What is here
takes tensors only, so that a trainer of another kind (a tf_keras model in `compress`) can use it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._elements import Targets, TopK
from keras_distill._internal._keras_private import mask_of
from keras_distill.losses import DistillationLoss, value_at
from keras_distill.training._weights import align, mask_weights, reduce_values, weigh

NOT_FINITE = "The logits of the teacher hold NaN or +infinity"
RULED_OUT = "needs finite values, and the teacher rules classes out with -infinity"


class View(NamedTuple):
    """What the losses see of a teacher or a student.

    Attributes:
        logits: A tensor `(B, ..., N)`, a `TopK`, or a dict of these by output name.
        features: Outputs of inner layers by name.
        mask: A Keras mask of the logits' leading shape, or a dict of these; None without one.
    """

    logits: Any
    features: Any = None
    mask: Any = None


class Batch(NamedTuple):
    """What the losses see of the data; each is a dict where there are several outputs.

    Attributes:
        labels: Labels, 0 where there is none; None without any.
        present: 1 where a position has a label, else 0; None where every one has.
        sample_weight: Weights of the leading axes; None without.
    """

    labels: Any = None
    present: Any = None
    sample_weight: Any = None


_NO_LABELS = Batch()


def split(y: Any) -> Targets:
    """`y` as `Targets`: plain labels carry no teacher."""
    return y if isinstance(y, Targets) else Targets(y, None, None)


def names_in(outputs: Any) -> list[str]:
    """The names of a dict of outputs, `[""]` for a single one."""
    return list(outputs) if isinstance(outputs, dict) else [""]


def of_output(value: Any, name: str) -> Any:
    """The part of a value that belongs to the output: of a dict its entry, else all of it."""
    return value.get(name) if isinstance(value, dict) else value


def mixed(hard: Any, soft: Any, alpha: Any) -> Any:
    """(1 - alpha) · hard + alpha · soft, or the one there is.

    Args:
        hard: A scalar, or None without labels.
        soft: A scalar, or None without a teacher: then the value is `hard`, whatever alpha.
        alpha: A number or a scalar tensor.

    Raises:
        InputError: If neither is there, or hard is missing with an alpha that is not 1.
    """
    fixed = not tf.is_tensor(alpha)
    if soft is None:
        if hard is None:
            raise InputError(
                "There is no loss to compute: no hard loss on labels, and no soft targets. Call"
                " compile(loss=...), or give the Distiller evaluate_teacher=True."
            )
        return hard
    if fixed and alpha == 1:
        return soft
    if hard is None:
        check_without_labels(alpha)
    if fixed and alpha == 0:
        return hard
    alpha = alpha if fixed else tf.cast(alpha, hard.dtype)
    return (1.0 - alpha) * hard + alpha * tf.cast(soft, hard.dtype)


def check_without_labels(alpha: Any) -> None:
    """Refuses an alpha that leaves weight to a hard term that is not there.

    Raises:
        InputError: If alpha is not the number 1.
    """
    if callable(alpha) or tf.is_tensor(alpha) or alpha != 1:
        raise InputError(
            "`alpha` must be 1 where there are no labels or no hard loss."
            f" Received: alpha={'a schedule' if not isinstance(alpha, float | int) else alpha}"
        )


def check_finite(teacher: Any) -> Any:
    """The teacher's logits behind an assertion that none is NaN or +inf (-inf rules a class out).

    Under XLA, which drops assertions, they pass unchecked.
    """
    if isinstance(teacher, dict):
        return {name: check_finite(value) for name, value in teacher.items()}
    if isinstance(teacher, TopK):
        # The indices are integers, which pass as they are.
        return TopK(*(part if part is None else check_finite(part) for part in teacher))
    tensor = tf.convert_to_tensor(teacher)
    if not tensor.dtype.is_floating:
        return tensor
    good = tf.reduce_all(tensor <= tensor.dtype.max)
    with tf.control_dependencies([tf.debugging.Assert(good, [NOT_FINITE])]):
        return tf.identity(tensor)


def layer_names(loss: Any) -> tuple[str | None, str | None]:
    """The (teacher, student) layers a loss reads, None for the logits."""
    if isinstance(loss, DistillationLoss | keras.distillation.FeatureDistillation):
        return loss.teacher_layer_name, loss.student_layer_name
    return None, None


class SoftTerms:
    """Σ w_i · L_i over distillation losses.

    Args:
        losses: One per term: ours, or a user's own subclass of Keras's class.
        weights: Numbers or schedules of the step, one per term.
        outputs: The output each is for; None: every output of the student, added up.

    Attributes:
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
    ) -> None:
        self.losses = list(losses)
        self.weights = list(weights)
        self.outputs = list(outputs)
        self.projectors: list[Any] = [None] * len(self.losses)

    def layer_names(self, role: str) -> list[str]:
        """The layers the losses read of the "teacher" or of the "student", each once."""
        names = [layer_names(loss)[role == "student"] for loss in self.losses]
        return list(dict.fromkeys(name for name in names if name is not None))

    def __call__(
        self, teacher: View, student: View, batch: Batch = _NO_LABELS, step: Any = None
    ) -> tf.Tensor:
        """The sum, a scalar.

        Args:
            teacher: The teacher's logits and features.
            student: The student's, with its mask.
            batch: Labels and weights.
            step: The optimizer's step, for schedules.

        Raises:
            InputError: If a loss cannot be computed from what is given.
        """
        values = []
        for i, loss in enumerate(self.losses):
            value = self._term(i, loss, teacher, student, batch, step)
            weight = value_at(self.weights[i], step)
            if tf.is_tensor(weight):
                weight = tf.cast(weight, value.dtype)
            elif weight == 1:
                weight = None
            values.append(value if weight is None else weight * value)
        return _sum(values)

    def _term(
        self, i: int, loss: Any, teacher: View, student: View, batch: Batch, step: Any
    ) -> tf.Tensor:
        names = layer_names(loss)
        if names != (None, None):
            t = teacher.features[names[0]] if names[0] else teacher.logits
            s = student.features[names[1]] if names[1] else student.logits
            mask = mask_of(s)
            if self.projectors[i] is not None:
                s = self.projectors[i](s)
            _refuse_by_name(loss, batch.sample_weight)
            pools = isinstance(loss, DistillationLoss) and loss.pools_positions
            if pools and mask is not None and len(mask.shape) > 1:
                # There is no value per position to weigh: what is padding is emptied instead.
                own = mask_of(t)
                t = without_padding(t, mask if own is None else own)
                s, mask = without_padding(s, mask), None
            return _value(loss, t, s, mask, batch, step)
        if not isinstance(loss, DistillationLoss):
            return _scalar(loss, teacher.logits, student.logits, batch.sample_weight)
        wanted = names_in(student.logits) if self.outputs[i] is None else [self.outputs[i]]
        values = []
        for name in wanted:
            t, s, mask = (
                of_output(v, name) for v in (teacher.logits, student.logits, student.mask)
            )
            part = Batch(*(of_output(value, name) for value in batch))
            values.append(_value(loss, t, s, mask, part, step))
        return _sum(values)


def _value(loss: Any, teacher: Any, student: Any, mask: Any, batch: Batch, step: Any) -> tf.Tensor:
    """The reduced value of one loss on one output."""
    if not isinstance(loss, DistillationLoss):
        return _scalar(loss, teacher, student, batch.sample_weight)
    if not isinstance(teacher, TopK) and teacher.shape.rank is None:
        teacher = tf.ensure_shape(teacher, student.shape)
    loss.validate_outputs(teacher, student)
    teacher = _refuse_ruled_out(loss, teacher)
    weights = batch.sample_weight
    if loss.needs_labels:
        if batch.labels is None:
            raise InputError(f"{type(loss).__name__} needs labels. Received: none in the data.")
        if batch.present is not None:
            weights = weigh(batch.present, weights, len(batch.present.shape))
    if not loss.over_batch:
        values = loss.per_example(teacher, student, batch.labels, step=step)
        return reduce_values(values, weights, mask, type(loss).__name__)
    if mask is not None:
        scaled = mask_weights(mask, tf.float32)
        weights = scaled if weights is None else scaled * align(weights, len(mask.shape))
    return loss.over_batch_value(teacher, student, batch.labels, sample_weight=weights, step=step)


def without_padding(features: Any, mask: Any) -> Any:
    """Features `(B, L, ...)` with 0 where a mask `(B, L)` is false.

    Features of other leading axes, which the mask cannot be about, stay as they are.
    """
    rank = len(mask.shape)
    shape = tuple(features.shape)
    if len(shape) <= rank or shape[1:rank] != tuple(mask.shape)[1:]:
        return features
    kept = align(tf.cast(mask, tf.bool), len(shape))
    return tf.where(kept, features, tf.zeros((), features.dtype))


def _sum(values: Sequence[tf.Tensor]) -> tf.Tensor:
    """Σ of scalars, in float64 where one is."""
    wide = next((value.dtype for value in values if value.dtype == tf.float64), values[0].dtype)
    return tf.add_n([tf.cast(value, wide) for value in values])


def _refuse_ruled_out(loss: Any, teacher: Any) -> Any:
    """The teacher's logits, asserted to have no -inf where a loss cannot take it."""
    if loss.takes_ruled_out or isinstance(teacher, TopK):
        return teacher
    teacher = tf.convert_to_tensor(teacher)
    if not teacher.dtype.is_floating:
        return teacher
    good = tf.reduce_all(teacher >= teacher.dtype.min)
    words = f"{type(loss).__name__} {RULED_OUT}. Use SoftTargetLoss, or finite logits."
    if tf.executing_eagerly() and not good:
        raise InputError(words)
    with tf.control_dependencies([tf.debugging.Assert(good, [words])]):
        return tf.identity(teacher)


def _scalar(loss: Any, teacher: Any, student: Any, sample_weight: Any) -> tf.Tensor:
    """The value of a loss that is a subclass of Keras's class only: one scalar per batch."""
    if sample_weight is not None:
        raise InputError(
            f"{type(loss).__name__} gives one value per batch, so it cannot weigh examples."
            " Received: sample_weight or class_weight. Leave them out, or subclass"
            " keras_distill.losses.DistillationLoss."
        )
    loss.validate_outputs(teacher, student)
    return tf.cast(loss.compute_loss(teacher, student), tf.float32)


def _refuse_by_name(loss: Any, sample_weight: Any) -> None:
    if isinstance(sample_weight, dict):
        raise InputError(
            f"{type(loss).__name__} reads inner layers, so weights by output name do not apply to"
            f" it. Received: sample_weight for {', '.join(sample_weight)}. Give one array."
        )
