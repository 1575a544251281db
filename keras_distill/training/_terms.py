"""The hard and the soft term of the training loss, computed only from tensors.

total = (1 - alpha) · hard + alpha · Σ w_i · L_i + the student's own regularization. This module
does not need a model, so other trainers (for a tf_keras model in `compress`) can use it too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._graph_errors import insist
from keras_distill._internal._keras_private import mask_of
from keras_distill._internal._soft_targets import Targets, TopK
from keras_distill._internal._types import Outputs, Schedule, Step, Tensor
from keras_distill.losses import DistillationLoss, value_at
from keras_distill.teachers import plain_outputs
from keras_distill.training._sample_weights import (
    align,
    mask_weights,
    reduce_values,
    weigh,
    without_padding,
)

NOT_FINITE = (
    "The logits of the teacher hold NaN or +infinity. Check the teacher, or the stored targets."
)


DEFAULT_ALPHA = 0.9

LayerNames: TypeAlias = "str | tuple[str, ...] | None"


class View(NamedTuple):
    """The tensors of a teacher or a student that the losses use.

    Attributes:
        logits: Tensors `(B, ..., N)` or `TopK`s by output name.
        features: Outputs of inner layers by layer name.
        mask: Keras masks of the logits' leading shape by output name; None where there is none.
        weights: Weights of inner layers by layer name.
    """

    logits: dict[str, Any]
    features: Mapping[str, Any] = {}
    mask: Mapping[str, Any] = {}
    weights: Mapping[str, Sequence[Tensor]] = {}


class Batch(NamedTuple):
    """The data for one output that the losses use.

    Attributes:
        labels: Labels, 0 where a label is missing; None if there are no labels.
        present: 1 where a position has a label, otherwise 0; None if every position has a label.
        sample_weight: Weights of the leading axes; None if there are no weights.
    """

    labels: Any = None
    present: Any = None
    sample_weight: Any = None


class Batches(NamedTuple):
    """The data that the losses use.

    Attributes:
        by_output: A `Batch` for each output by name.
        shared: The `Batch` for losses on inner layers; None if outputs have different weights.
    """

    by_output: Mapping[str, Batch] = {}
    shared: Batch | None = Batch()


def split(y: Any) -> Targets:
    """Returns `y` as `Targets`; for plain labels `teacher` is None; missing labels become None."""
    if not isinstance(y, Targets):
        return Targets(y, None, None)
    # A data set of only x contains empty tuples, because tf.distribute does not support None.
    parts = (y.labels, y.labeled)
    labels, labeled = (None if isinstance(part, tuple) and not part else part for part in parts)
    return Targets(labels, y.teacher, labeled)


def alpha_at(alpha: Schedule | None, step: Step, *, labeled: bool) -> Any:
    """Returns the weight of the soft terms in a step.

    Args:
        alpha: A number or a schedule; None means `DEFAULT_ALPHA`, or 1 without labels.
        step: The optimizer's step.
        labeled: Whether there is a hard term.

    Example:
        >>> alpha_at(None, 0, labeled=True), alpha_at(None, 0, labeled=False)
        (0.9, 1.0)
    """
    if alpha is None:
        return DEFAULT_ALPHA if labeled else 1.0
    return value_at(alpha, step)


def mixed(hard: Tensor | None, soft: Tensor | None, alpha: Any) -> Tensor:
    """Returns (1 - alpha) · hard + alpha · soft, or the only term that exists.

    Args:
        hard: A scalar, or None without labels.
        soft: A scalar, or None without a teacher. With None, the result is `hard` for any alpha.
        alpha: A number or a scalar tensor.

    Raises:
        InputError: If neither exists, or hard is missing and alpha is not 1.
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
    assert hard is not None  # otherwise alpha is 1
    if fixed and alpha == 0:
        return hard
    alpha = alpha if fixed else tf.cast(alpha, hard.dtype)
    return (1.0 - alpha) * hard + alpha * tf.cast(soft, hard.dtype)


def check_without_labels(alpha: Any) -> None:
    """Rejects an alpha that gives weight to a missing hard term.

    Raises:
        InputError: If alpha is neither None (the default) nor the number 1.
    """
    if alpha is None:
        return
    if callable(alpha) or tf.is_tensor(alpha) or alpha != 1:
        raise InputError(
            "`alpha` must be 1, or be left out, where there are no labels or no hard loss."
            f" Received: alpha={'a schedule' if not isinstance(alpha, float | int) else alpha}"
        )


def check_finite(logits: Outputs) -> Outputs:
    """Returns teacher logits with an assertion that none is NaN or +inf (-inf rules a class out).

    XLA drops assertions: under XLA, logits are not checked.

    Args:
        logits: Tensors or `TopK`s by output name.
    """
    return {name: _finite(value) for name, value in logits.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, TopK):
        # The indices are integers and need no check.
        return TopK(*(part if part is None else _finite(part) for part in value))
    tensor = tf.convert_to_tensor(value)
    if not tensor.dtype.is_floating:
        return tensor
    good = tf.reduce_all(tensor <= tensor.dtype.max)
    with tf.control_dependencies([insist(good, NOT_FINITE)]):
        return tf.identity(tensor)


def layer_names(loss: Any) -> tuple[LayerNames, LayerNames]:
    """Returns the (teacher, student) layers that a loss reads: one, several, or None for logits."""
    if isinstance(loss, DistillationLoss) and loss.teacher_layer_names:
        return tuple(loss.teacher_layer_names), tuple(loss.student_layer_names)
    if isinstance(loss, DistillationLoss | keras.distillation.FeatureDistillation):
        return loss.teacher_layer_name, loss.student_layer_name
    return None, None


class Default(NamedTuple):
    """Settings of default distillation losses, which are chosen by the task of each output.

    Attributes:
        temperature: Temperature of classification losses, a number or a schedule.
        weight: The weight of each loss.
        given: Whether the user gave the temperature.
    """

    temperature: Schedule
    weight: Schedule = 1.0
    given: bool = False


class _Given(NamedTuple):
    """The inputs of one term."""

    teacher: View
    student: View
    batches: Batches
    step: Step
    training: bool


_NO_LABELS = Batches()


class SoftTerms:
    """Σ w_i · L_i over distillation losses.

    Args:
        losses: One per term: a loss of this package, or a subclass of the Keras base class.
        weights: Numbers or schedules of the step, one per term.
        outputs: The output that each term is for; None: the sum over every output of the student.
        default: The settings of losses that were chosen by the tasks; None if losses were given.

    Attributes:
        projectors: The layers that project the student's features, one per term; None for a term
            without a projector.

    Example:
        >>> from keras_distill.losses import SoftTargetLoss
        >>> soft = SoftTerms([SoftTargetLoss(1.0)], [2.0], [None])
        >>> teacher = View({"": tf.constant([[2.0, 0.0]])})
        >>> student = View({"": tf.constant([[0.0, 0.0]])})
        >>> round(float(soft(teacher, student)), 3)
        0.656
    """

    def __init__(
        self,
        losses: Sequence[keras.distillation.DistillationLoss],
        weights: Sequence[Schedule],
        outputs: Sequence[str | None],
        default: Default | None = None,
    ) -> None:
        self.default = default
        self.losses = list(losses)
        self.weights = list(weights)
        self.outputs = list(outputs)
        self.projectors: list[keras.Layer | None] = [None] * len(self.losses)

    def layer_names(self, role: str) -> list[str]:
        """Returns the layers that the losses read of the "teacher" or "student", each once."""
        found = [layer_names(loss)[role == "student"] for loss in self.losses]
        listed = [(names,) if isinstance(names, str) else names or () for names in found]
        return list(dict.fromkeys(name for names in listed for name in names))

    def weights_names(self) -> list[str]:
        """Returns the layers of the teacher whose weights the losses read."""
        ours = (loss for loss in self.losses if isinstance(loss, DistillationLoss))
        return [loss.teacher_weights_name for loss in ours if loss.teacher_weights_name]

    def for_output(self, name: str) -> list[Any]:
        """Returns the losses on the logits of an output."""
        pairs = zip(self.losses, self.outputs, strict=True)
        return [loss for loss, only in pairs if only in (None, name)]

    def __call__(
        self,
        teacher: View,
        student: View,
        batches: Batches = _NO_LABELS,
        step: Step = None,
        *,
        training: bool = False,
    ) -> Tensor:
        """Computes the sum, a scalar.

        Args:
            teacher: The teacher's logits and features.
            student: The student's logits and features, with its masks.
            batches: Labels and weights.
            step: The optimizer's step, for schedules.
            training: Whether this is a training step, for projectors.

        Raises:
            InputError: If an input that a loss needs is missing.
        """
        given = _Given(teacher, student, batches, step, training)
        values = []
        for i, loss in enumerate(self.losses):
            value = self._term(i, loss, given)
            weight = value_at(self.weights[i], step)
            if tf.is_tensor(weight):
                value *= tf.cast(weight, value.dtype)
            elif weight != 1:
                value *= weight
            values.append(value)
        return _sum(values)

    def _term(self, i: int, loss: Any, given: _Given) -> Tensor:
        if layer_names(loss) != (None, None):
            return self._feature_term(i, loss, given)
        teacher, student, batches, step, _ = given
        if not isinstance(loss, DistillationLoss):
            weights = [batch.sample_weight for batch in batches.by_output.values()]
            sides = plain_outputs(teacher.logits), plain_outputs(student.logits)
            return _scalar(loss, *sides, next((w for w in weights if w is not None), None))
        values = []
        only = self.outputs[i]
        for name in student.logits if only is None else [only]:
            batch = batches.by_output.get(name, Batch())
            mask = student.mask.get(name)
            values.append(
                _value(loss, teacher.logits[name], student.logits[name], mask, batch, step)
            )
        return _sum(values)

    def _feature_term(self, i: int, loss: Any, given: _Given) -> Tensor:
        teacher, student, batches, step, training = given
        t, s = map(_read, (teacher, student), layer_names(loss))
        if batches.shared is None:
            raise InputError(
                f"{type(loss).__name__} reads inner layers, so weights by output name do not apply"
                f" to it. Received: sample_weight for {', '.join(batches.by_output)}. Give one"
                " array."
            )
        mask = None if isinstance(s, list) else mask_of(s)
        if not isinstance(loss, DistillationLoss):
            return _value(loss, t, s, mask, batches.shared, step)
        if loss.pools_positions and mask is not None and len(mask.shape) > 1:
            # The loss has no value per position to weight, so padding is set to 0 instead.
            own = mask_of(t)
            t = without_padding(t, mask if own is None else own)
            s, mask = without_padding(s, mask), None
        projector, kept = self.projectors[i], batches.shared.sample_weight
        if projector is not None:
            t, s = loss.project(projector, t, s, training=training, sample_weight=kept)
        if loss.teacher_weights_name is not None:
            t = [t, *teacher.weights[loss.teacher_weights_name]]
        return _value(loss, t, s, mask, batches.shared, step)


def _read(view: View, names: LayerNames) -> Any:
    """Returns the features of one layer, a list for several, or the logits."""
    if isinstance(names, tuple):
        return [view.features[name] for name in names]
    return plain_outputs(view.logits) if names is None else view.features[names]


def _value(loss: Any, teacher: Any, student: Any, mask: Any, batch: Batch, step: Any) -> Tensor:
    """Returns the reduced value of one loss on one output."""
    if not isinstance(loss, DistillationLoss):
        return _scalar(loss, teacher, student, batch.sample_weight)
    if tf.is_tensor(teacher) and teacher.shape.rank is None:
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


def _sum(values: Sequence[Tensor]) -> Tensor:
    """Returns the sum of scalars, in float64 if one of them is."""
    wide = next((value.dtype for value in values if value.dtype == tf.float64), values[0].dtype)
    return tf.add_n([tf.cast(value, wide) for value in values])


def _refuse_ruled_out(loss: DistillationLoss, teacher: Any) -> Any:
    """Returns the teacher's logits, asserted to have no -inf if the loss does not support it."""
    if loss.takes_ruled_out or isinstance(teacher, TopK):
        return teacher
    teacher = tf.convert_to_tensor(teacher)
    if not teacher.dtype.is_floating:
        return teacher
    good = tf.reduce_all(teacher >= teacher.dtype.min)
    message = (
        f"{type(loss).__name__} needs finite values, and the teacher rules classes out with"
        " -infinity. Use SoftTargetLoss, or finite logits."
    )
    with tf.control_dependencies([insist(good, message)]):
        return tf.identity(teacher)


def _scalar(loss: Any, teacher: Any, student: Any, sample_weight: Any) -> Tensor:
    """Returns the value of a loss that subclasses only the Keras class: one scalar per batch."""
    if sample_weight is not None:
        raise InputError(
            f"{type(loss).__name__} gives one value per batch, so it cannot weigh examples."
            " Received: sample_weight or class_weight. Leave them out, or subclass"
            " keras_distill.losses.DistillationLoss."
        )
    loss.validate_outputs(teacher, student)
    return tf.cast(loss.compute_loss(teacher, student), tf.float32)
