"""The base class of all losses: its two forms, shape checks, and serialization."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from typing_extensions import Self

from keras_distill._internal import InputError, bad
from keras_distill._internal._graph_errors import insist
from keras_distill._internal._soft_targets import TopK
from keras_distill._internal._types import Json, Shape, Step, TeacherLogits, Tensor, TensorLike
from keras_distill.losses._settings import deserialized, serialized
from keras_distill.losses._temperature import as_float


class DistillationLoss(keras.distillation.DistillationLoss):
    """The base class of distillation losses, with a value per example or one value per batch.

    A subclass either implements `per_example`, or sets `over_batch` and implements
    `value_of_rows`. The loss also works in `keras.distillation.Distiller` if it needs no labels, no
    projector, and no schedule.

    Attributes:
        over_batch: Whether the loss compares the examples of a batch with each other. It then has
            no value per example.
        needs_labels: Whether the loss reads the labels.
        accepts_topk: Whether the teacher may be a `TopK`.
        compares_classes: Whether the loss compares class probabilities. It then needs two or more
            logits.
        takes_ruled_out: Whether a teacher's logit may be -inf (a class with probability 0).
        pools_positions: Whether the loss has no value per position of features `(B, L, ...)`.
            Padding must then be set to 0 first.
        teacher_layer_name: The teacher's layer to read; None for its logits.
        student_layer_name: The student's layer to read; None for its logits.
        teacher_layer_names: Several teacher layers instead of one. Features are then lists of
            tensors.
        student_layer_names: Several student layers instead of one, as for the teacher.
        teacher_weights_name: A layer of the teacher whose weights the loss needs, or None. With a
            layer, `teacher` is `[features, *weights]`.

    Example:
        >>> @keras.saving.register_keras_serializable("doc")
        ... class Absolute(DistillationLoss):
        ...     def per_example(self, teacher, student, labels=None, *, step=None):
        ...         return tf.reduce_mean(tf.abs(teacher - student), axis=-1)
        >>> float(Absolute().compute_loss(tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 0.0]])))
        0.5
    """

    over_batch: bool = False
    needs_labels: bool = False
    accepts_topk: bool = False
    compares_classes: bool = False
    takes_ruled_out: bool = True
    pools_positions: bool = False
    teacher_layer_name: str | None = None
    student_layer_name: str | None = None
    teacher_layer_names: Sequence[str] = ()
    student_layer_names: Sequence[str] = ()
    teacher_weights_name: str | None = None

    def per_example(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes the loss of each example.

        Args:
            teacher: float logits `(..., N)`, a `TopK`, or float features.
            student: float logits or features.
            labels: The labels, as the hard loss takes them; read only if `needs_labels`.
            step: The optimizer's step, for settings that are schedules.

        Returns:
            A value per leading position `(...)`.

        Raises:
            InputError: If the loss has no value per example (`over_batch`).
        """
        raise InputError(
            f"{type(self).__name__} has no value per example: it relates the examples of a batch."
            " Use over_batch_value."
        )

    def over_batch_value(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        sample_weight: TensorLike | None = None,
        step: Step = None,
    ) -> Tensor:
        """Computes the loss of a batch as one scalar, for losses without a value per example.

        Args:
            teacher: float logits `(..., N)` or features.
            student: float logits or features.
            labels: The labels, as the hard loss takes them; read only if `needs_labels`.
            sample_weight: A weight per leading position, or None. Rows with weight 0 are dropped;
                all other rows must have equal weights.
            step: The optimizer's step, for settings that are schedules.

        Returns:
            A scalar: the value over the kept rows, times the mean weight of the batch.

        Raises:
            InputError: If the loss has a value per example, or weights differ.
        """
        if not self.over_batch:
            raise InputError(f"{type(self).__name__} has a value per example. Use per_example.")

        def value(keep: Tensor | None) -> Tensor:
            return self.value_of_rows(teacher, student, keep, labels, step=step)

        return over_rows(value, sample_weight, self.leading(student), type(self).__name__)

    def leading(self, student: Any) -> Tensor:
        """Returns the shape of the rows that a loss over the batch compares, as a 1-D tensor."""
        shape = tf.shape(student)
        return shape[:-1] if self.student_layer_name is None else shape[:1]

    def value_of_rows(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        keep: Tensor | None,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes the loss over the kept rows; a loss over the batch implements this method.

        The rows are the examples of features `(B, ...)`, or all positions of logits `(..., N)`.

        Args:
            teacher: float logits `(..., N)` or features.
            student: float logits or features.
            keep: None for all rows, or `(rows,)` of 1 (keep the row) and 0 (leave it out).
            labels: The labels, as the hard loss takes them; read only if `needs_labels`.
            step: The optimizer's step, for settings that are schedules.

        Returns:
            A scalar.

        Raises:
            InputError: If the loss has a value per example.
        """
        raise InputError(f"{type(self).__name__} has a value per example. Use per_example.")

    def compute_loss(
        self,
        teacher_outputs: TeacherLogits,
        student_outputs: TensorLike,
        labels: TensorLike | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Computes the mean over the batch; `keras.distillation.Distiller` calls it.

        Args:
            teacher_outputs: float logits, a `TopK`, or features.
            student_outputs: float logits or features.
            labels: The labels, as the hard loss takes them; read only if `needs_labels`.
            **kwargs: `step`, for settings that are schedules; other names are ignored.

        Returns:
            A scalar.

        Raises:
            InputError: If the loss needs labels and gets none, or a schedule gets no step.
        """
        if self.needs_labels and labels is None:
            raise InputError(
                f"{type(self).__name__} needs labels. Received: labels=None. Use keras_distill's"
                " Distiller, which passes them, or a loss that needs none."
            )
        value = self.over_batch_value if self.over_batch else self.per_example
        result = value(teacher_outputs, student_outputs, labels, step=kwargs.get("step"))
        return tf.reduce_mean(result)

    def projector(self, teacher_shape: Shape, student_shape: Shape) -> keras.layers.Layer | None:
        """Creates the trained layer that the student's features pass through before comparison.

        Args:
            teacher_shape: Shape of the teacher's features with the batch axis; None for an
                unknown size.
            student_shape: Shape of the student's features, in the same form.

        Returns:
            A new, unbuilt layer, or None if no layer is needed, as for every loss on logits.

        Raises:
            InputError: If no layer can map the student's features to the teacher's shape.
        """
        return None

    def projector_fits(
        self, projector: keras.layers.Layer, teacher_shape: Shape, student_shape: Shape
    ) -> bool:
        """Returns whether a trained layer still fits the features of a new teacher."""
        return not known_differ(
            projector.compute_output_shape(student_shape)[1:], teacher_shape[1:]
        )

    def project(
        self,
        projector: keras.layers.Layer,
        teacher: Any,
        student: Any,
        *,
        training: bool,
        sample_weight: Tensor | None,
    ) -> tuple[Any, Any]:
        """Passes features through the layer that `projector` created, before the comparison.

        Args:
            projector: The layer, built.
            teacher: The teacher's features.
            student: The student's features.
            training: Whether this is a training step.
            sample_weight: A weight per example, or None.

        Returns:
            The teacher and student arguments of the loss.
        """
        return teacher, projector(student)

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Checks the shapes, as far as they are known before the first step.

        Args:
            teacher_outputs: Tensors, or objects with a `shape`, or a `TopK` of these.
            student_outputs: Tensors, or objects with a `shape`.

        Raises:
            InputError: If the shapes do not match, or the loss does not accept a `TopK`.
        """
        if isinstance(teacher_outputs, TopK):
            self._validate_topk(teacher_outputs, student_outputs)
            return
        for name, outputs in (("teacher", teacher_outputs), ("student", student_outputs)):
            if isinstance(outputs, dict | list | tuple):
                raise bad(
                    f"{name}_outputs",
                    f"be one tensor for {type(self).__name__}",
                    type(outputs).__name__,
                    "Give a model with several outputs one loss per output name.",
                )
        shapes = [tf.TensorShape(v.shape) for v in (teacher_outputs, student_outputs)]
        if all(shape.rank is not None for shape in shapes):
            self.validate_shapes(*map(tuple, shapes))

    def validate_shapes(self, teacher: Shape, student: Shape) -> None:
        """Checks two shapes, with None for unknown sizes. Logits must agree in every axis.

        Raises:
            InputError: If the shapes do not match.
        """
        if len(teacher) == len(student) and known_differ(teacher[-1:], student[-1:]):
            raise InputError(
                "Teacher and student must have the same classes."
                f" Received: {teacher[-1]} of the teacher, {student[-1]} of the student. Map the"
                " teacher's classes to the student's: teachers.AdaptedTeacher(teacher,"
                f" teachers.ClassMap(ids, classes={teacher[-1]})), in a recipe teacher.classes."
            )
        if len(teacher) != len(student) or known_differ(teacher, student):
            raise InputError(
                "Teacher and student outputs must have the same shape."
                f" Received: teacher {teacher}, student {student}."
            )
        if self.compares_classes and student[-1] == 1:
            raise InputError(
                f"{type(self).__name__} needs two classes or more. Received: student {student}."
                " For one logit per example use MultiLabelSoftLoss."
            )

    def _validate_topk(self, teacher: TopK, student: Any) -> None:
        if not self.accepts_topk:
            raise InputError(
                f"{type(self).__name__} needs every logit of the teacher, and a TopK has only the"
                " largest. Store dense logits, or use SoftTargetLoss."
            )
        kept, shape = tuple(teacher.logits.shape), tuple(student.shape)
        if len(kept) != len(shape) or known_differ(kept[:-1], shape[:-1]):
            raise InputError(
                "A TopK teacher must have the student's leading shape."
                f" Received: TopK logits {kept}, student {shape}."
            )
        if None not in (kept[-1], shape[-1]) and kept[-1] > shape[-1]:
            raise InputError(
                "A TopK teacher must not keep more classes than the student has."
                f" Received: k={kept[-1]}, {shape[-1]} classes."
            )

    def __repr__(self) -> str:
        """Returns the call that creates the loss, without settings that are None.

        Example:
            >>> import keras_distill as kd
            >>> kd.SoftTargetLoss(temperature=2.0)
            SoftTargetLoss(temperature=2.0)
        """
        given = {
            name: getattr(self, name, None) for name in inspect.signature(type(self)).parameters
        }
        shown = ", ".join(f"{k}={v!r}" for k, v in given.items() if v is not None)
        return f"{type(self).__name__}({shown})"

    def get_config(self) -> dict[str, Json]:
        """Returns the settings for `from_config`, with schedules serialized.

        The settings are the arguments of `__init__`. Each is stored as an attribute of the same
        name.
        """
        settings = inspect.signature(type(self)).parameters
        return {name: serialized(name, getattr(self, name)) for name in settings}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Creates the loss from the settings that `get_config` returned."""
        return cls(**{name: deserialized(value) for name, value in config.items()})


def known_differ(a: Shape, b: Shape) -> bool:
    """Returns whether two shapes of equal rank differ in an axis whose size is known in both."""
    return any(None not in (x, y) and x != y for x, y in zip(a, b, strict=True))


_RULE = (
    "relates the examples of a batch, so every sample weight must be 0 (the row is dropped) or one"
    " and the same"
)
_REMEDY = "Use a loss with a value per example, or no class_weight and equal sample_weight."


def over_rows(
    value: Callable[[Tensor | None], Tensor],
    sample_weight: TensorLike | None,
    leading: Tensor,
    name: str,
) -> Tensor:
    """Computes the value over the rows whose weight is not 0, times the mean weight.

    A weight c on all rows therefore gives c times the value. Dropping rows lowers the value as it
    lowers Σ w·L / B. If the weights are known only when the graph runs, an assertion rejects
    unequal weights. XLA drops assertions; under XLA the loss becomes NaN instead.

    Args:
        value: A function that takes 1 or 0 per row `(rows,)`, or None for all rows, and returns a
            scalar.
        sample_weight: None, or weights that broadcast to `leading` from the left.
        leading: The shape of the rows before they are flattened, as a 1-D tensor.
        name: The name of the loss, for the error message.

    Raises:
        InputError: If known weights differ, or the shape of the weights does not match.
    """
    if sample_weight is None:
        return value(None)
    weights = _aligned(as_float(sample_weight), leading)
    kept = tf.not_equal(weights, 0)
    low = tf.reduce_min(tf.where(kept, weights, weights.dtype.max))
    high = tf.reduce_max(tf.where(kept, weights, weights.dtype.min))
    equal = high - low <= 1e-6 * tf.abs(high)
    known = tf.get_static_value(equal)
    if known is not None and not known:
        raise InputError(
            f"{name} {_RULE}. Received: sample_weight from {float(low):g} to {float(high):g}."
            f" {_REMEDY}"
        )
    result = value(tf.cast(kept, weights.dtype))
    message = [f"{name} {_RULE}. {_REMEDY} Received: sample_weight from", low, "to", high]
    with tf.control_dependencies([insist(equal, *message)]):
        mean = tf.cast(tf.reduce_mean(weights), result.dtype)
        return result * tf.where(equal, mean, tf.constant(float("nan"), result.dtype))


def _aligned(weights: Tensor, leading: Tensor) -> Tensor:
    rank = leading.shape.num_elements() or 0
    if len(weights.shape) > rank and weights.shape[-1] == 1:
        weights = tf.squeeze(weights, -1)
    if len(weights.shape) > rank:
        raise bad("sample_weight", f"have at most {rank} axes here", weights.shape)
    while len(weights.shape) < rank:
        weights = tf.expand_dims(weights, -1)
    return tf.reshape(tf.broadcast_to(weights, leading), (-1,))
