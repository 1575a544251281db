"""The base of every loss here: settings, checks, and the two forms a trainer may ask for."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from typing_extensions import Self

from keras_distill._internal import InputError, bad, check_number
from keras_distill._internal._elements import TopK
from keras_distill.losses._batch import over_rows

PACKAGE = "keras_distill"

# A number, or a schedule: any callable of the step, such as a Keras LearningRateSchedule.
Setting = float | Callable[[Any], Any]


def value_at(setting: Setting, step: Any = None) -> Any:
    """The value of a setting at a step.

    Args:
        setting: A number, or a callable of the step.
        step: The optimizer's step, a scalar tensor or variable; needed by a schedule only.

    Returns:
        The number itself, or what the schedule gives (a scalar tensor inside a graph, so that a
        change of value never retraces).

    Raises:
        InputError: If a schedule gets no step.

    Example:
        >>> value_at(4.0), value_at(lambda step: 8.0 - step, 3)
        (4.0, 5.0)
    """
    if not callable(setting):
        return setting
    if step is None:
        raise InputError(
            "`step` must be given where a setting is a schedule. Received: step=None. Use"
            " keras_distill's Distiller, which passes it, or a number."
        )
    return setting(step)


# A step that no training reaches: schedules that end have ended there.
_LAST_STEP = 2**31 - 1
_schedules = keras.optimizers.schedules


def check_setting(name: str, setting: Setting, **bounds: float) -> Setting:
    """Returns the setting if its number, or what is known of its schedule, is within bounds.

    The schedules of Keras and of this package that end are checked at their start, in between and
    at their end; any other callable at step 0 only.

    Args:
        name: The argument's name.
        setting: A number, or a callable of the step.
        **bounds: `above`, `at_least`, `at_most`, as of `check_number`.

    Raises:
        InputError: If it is not, or is neither a number nor callable.

    Example:
        >>> check_setting("temperature", 4.0, above=0)
        4.0
    """
    if not callable(setting):
        return check_number(name, setting, **bounds)
    for step in _telling_steps(setting):
        which = f"the last value of {name}" if step == _LAST_STEP else f"{name}({step})"
        check_number(which, float(setting(step)), **bounds)
    return setting


def _telling_steps(schedule: Any) -> list[int]:
    """Steps that show the values a schedule takes: those of Keras and of this package are known."""
    steps = [0]
    if isinstance(schedule, _schedules.PiecewiseConstantDecay):
        steps += [int(boundary) + 1 for boundary in schedule.boundaries]
    if isinstance(schedule, _schedules.CosineDecay):
        steps.append(int(schedule.warmup_steps))
    endless = (
        _schedules.ExponentialDecay,
        _schedules.InverseTimeDecay,
        _schedules.CosineDecayRestarts,
    )
    known = type(schedule).__module__.partition(".")[0] in ("keras", "keras_distill")
    if known and not isinstance(schedule, endless):
        steps.append(_LAST_STEP)
    return steps


class DistillationLoss(keras.distillation.DistillationLoss):
    """A distillation loss with a value per example, or one value for a batch.

    A subclass implements `per_example`, or sets `over_batch` and implements `value_of_rows`;
    everything else follows. It works in `keras.distillation.Distiller` too, where it needs neither
    labels nor a projector nor a schedule.

    Attributes:
        over_batch: It relates the examples of a batch, so there is no value per example.
        needs_labels: It reads the labels.
        accepts_topk: The teacher may be a `TopK`.
        compares_classes: It compares probabilities of classes: one logit leaves it nothing.
        takes_ruled_out: A teacher's logit may be -inf, a class that is ruled out.
        pools_positions: It has no value per position of features `(B, L, ...)`: padding must be
            emptied before.
        teacher_layer_name: The teacher's layer to read, None for its logits.
        student_layer_name: The student's layer to read, None for its logits.

    Example:
        >>> @keras.saving.register_keras_serializable("doc")
        ... class Absolute(DistillationLoss):
        ...     def per_example(self, teacher, student, labels=None, *, step=None):
        ...         return tf.reduce_mean(tf.abs(teacher - student), axis=-1)
        >>> float(Absolute().compute_loss(tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 0.0]])))
        0.5
    """

    over_batch = False
    needs_labels = False
    accepts_topk = False
    compares_classes = False
    takes_ruled_out = True
    pools_positions = False
    teacher_layer_name: str | None = None
    student_layer_name: str | None = None

    def per_example(
        self, teacher: Any, student: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """The loss of each example.

        Args:
            teacher: Logits `(..., N)`, a `TopK`, or features.
            student: Logits or features.
            labels: What the hard loss takes; read if `needs_labels`.
            step: The optimizer's step, for settings that are schedules.

        Returns:
            A value per leading position `(...)`.

        Raises:
            InputError: If there is no value per example (`over_batch`).
        """
        raise InputError(
            f"{type(self).__name__} has no value per example: it relates the examples of a batch."
            " Use over_batch_value."
        )

    def over_batch_value(
        self,
        teacher: Any,
        student: Any,
        labels: Any = None,
        *,
        sample_weight: Any = None,
        step: Any = None,
    ) -> tf.Tensor:
        """The loss of a batch as one scalar, where there is no value per example.

        Args:
            teacher: Logits `(..., N)` or features.
            student: Logits or features.
            labels: What the hard loss takes; read if `needs_labels`.
            sample_weight: A weight per leading position, or None. Rows of weight 0 are dropped,
                all others must weigh the same.
            step: The optimizer's step, for settings that are schedules.

        Returns:
            A scalar: the value over the rows kept, times the mean weight of the batch.

        Raises:
            InputError: If the loss has a value per example, or weights differ.
        """
        if not self.over_batch:
            raise InputError(f"{type(self).__name__} has a value per example. Use per_example.")

        def value(keep):
            return self.value_of_rows(teacher, student, keep, labels, step=step)

        rows = tf.shape(student)[:-1] if self.student_layer_name is None else tf.shape(student)[:1]
        return over_rows(value, sample_weight, rows, type(self).__name__)

    def value_of_rows(
        self, teacher: Any, student: Any, keep: Any, labels: Any = None, *, step: Any = None
    ) -> tf.Tensor:
        """The loss over the rows kept: what a loss over the batch implements.

        Rows are the examples of features `(B, ...)`, and every position of logits `(..., N)`.

        Args:
            teacher: Logits `(..., N)` or features.
            student: Logits or features.
            keep: None for all rows, or `(rows,)` of 1 and 0: rows of 0 are left out.
            labels: What the hard loss takes; read if `needs_labels`.
            step: The optimizer's step, for settings that are schedules.

        Returns:
            A scalar.

        Raises:
            InputError: If the loss has a value per example.
        """
        raise InputError(f"{type(self).__name__} has a value per example. Use per_example.")

    def compute_loss(
        self, teacher_outputs: Any, student_outputs: Any, labels: Any = None, **kwargs: Any
    ) -> tf.Tensor:
        """The mean over the batch, as Keras asks for it.

        Args:
            teacher_outputs: Logits, a `TopK`, or features.
            student_outputs: Logits or features.
            labels: What the hard loss takes; read if `needs_labels`.
            **kwargs: `step`, for settings that are schedules; others are not read.

        Returns:
            A scalar.

        Raises:
            InputError: If labels are needed and not given, or a schedule gets no step.
        """
        if self.needs_labels and labels is None:
            raise InputError(
                f"{type(self).__name__} needs labels. Received: labels=None. Use keras_distill's"
                " Distiller, which passes them, or a loss that needs none."
            )
        value = self.over_batch_value if self.over_batch else self.per_example
        result = value(teacher_outputs, student_outputs, labels, step=kwargs.get("step"))
        return tf.reduce_mean(result)

    def projector(self, teacher_shape: tuple, student_shape: tuple) -> keras.layers.Layer | None:
        """The layer to train on the student's features before they are compared.

        Args:
            teacher_shape: Shape of the teacher's features with the batch axis, None for what is
                not known.
            student_shape: The same of the student.

        Returns:
            A new, unbuilt layer, or None where none is needed, as for every loss on logits.

        Raises:
            InputError: If no layer can bring the one to the other.
        """
        return None

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Checks what is known of the shapes before the first step.

        Args:
            teacher_outputs: Tensors, or anything with a `shape`; a `TopK` of such.
            student_outputs: The same.

        Raises:
            InputError: If they do not fit each other, or a `TopK` is not accepted.
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

    def validate_shapes(self, teacher: tuple, student: tuple) -> None:
        """Checks two shapes with None for what is not known; logits must agree in every axis.

        Raises:
            InputError: If they do not fit each other.
        """
        if len(teacher) == len(student) and known_differ(teacher[-1:], student[-1:]):
            raise InputError(
                "Teacher and student must have the same classes."
                f" Received: {teacher[-1]} of the teacher, {student[-1]} of the student."
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

    def get_config(self) -> dict[str, Any]:
        """The settings, schedules serialized; `from_config` takes them.

        They are the arguments of `__init__`, each kept as an attribute of its name.
        """
        settings = inspect.signature(type(self)).parameters
        return {name: serialized(name, getattr(self, name)) for name in settings}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Makes the loss from `get_config`'s settings."""
        return cls(**{name: deserialized(value) for name, value in config.items()})


def known_differ(a: tuple, b: tuple) -> bool:
    """Whether two shapes of one length differ in an axis that both know."""
    return any(None not in (x, y) and x != y for x, y in zip(a, b, strict=True))


def serialized(name: str, setting: Setting) -> Any:
    """A setting as JSON holds it.

    Raises:
        InputError: If it is a lambda, which no file can hold safely.
    """
    if not callable(setting):
        return setting
    if getattr(setting, "__name__", "") == "<lambda>":
        raise bad(
            name,
            "be a number, a Keras schedule or a registered function to be saved",
            setting,
            "Use keras.optimizers.schedules, or keras.saving.register_keras_serializable.",
        )
    return keras.saving.serialize_keras_object(setting)


def deserialized(value: Any) -> Any:
    """A setting, or any other object, from `serialized`'s form."""
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    return value
