"""Teacher and student as a pair, and their tensors that the losses use in one batch."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import InputError, bad, check_choice
from keras_distill._internal._keras_private import mask_of
from keras_distill._internal._probabilities import DECLARATIONS, Declared
from keras_distill._internal._soft_targets import Targets, TopK
from keras_distill._internal._types import Outputs, Schedule, Shape
from keras_distill.losses import SoftTargetLoss
from keras_distill.metrics import Task
from keras_distill.teachers import (
    Declaration,
    ModelReader,
    Teacher,
    as_teacher,
    outputs_by_name,
)
from keras_distill.training._batch import Element
from keras_distill.training._terms import SoftTerms, View, check_finite


def read_student(student: keras.Model, soft: SoftTerms) -> ModelReader:
    """Returns the reader of a student and of the layers that its losses read."""
    return ModelReader(student, "student", soft.layer_names("student"))


def student_view(reader: ModelReader, outputs: Outputs, features: Outputs) -> View:
    """Returns a student's logits, features, and masks.

    Args:
        reader: Reads the student.
        outputs: The student's outputs by name.
        features: Inner layers' outputs by layer name.
    """
    masks = {name: mask_of(output) for name, output in outputs.items()}
    return View(reader.logits(outputs), features, masks)


class TeacherSource:
    """A live teacher, or no teacher if the data contain `Targets`.

    This is a plain object, so that Keras does not track, train, or save the teacher.

    Args:
        given: The `teacher` argument of the user; None if there is no teacher.
        preprocess: Converts the student's x to the teacher's x inside the graph; None uses the same
            x.
        from_probabilities: Whether the teacher, or the `Targets` in the data, give probabilities;
            see `Distiller`.

    Attributes:
        teacher: The teacher; None if there is none.
        from_probabilities: The argument `from_probabilities`.
        checked: The checks already done on a first batch: "teacher", "stored", "student".

    Raises:
        InputError: If `given` is not a teacher, or `preprocess` is given without a teacher.
    """

    def __init__(
        self,
        given: Any = None,
        preprocess: Callable[[Any], Any] | None = None,
        from_probabilities: Declared = None,
    ) -> None:
        check_choice("from_probabilities", from_probabilities, DECLARATIONS)
        if preprocess is not None and (given is None or not callable(preprocess)):
            raise bad("teacher_preprocess", "be a function, and come with a teacher", preprocess)
        self.preprocess = preprocess
        self.from_probabilities = from_probabilities
        self.teacher: Teacher | None = (
            None if given is None else as_teacher(given, from_probabilities=from_probabilities)
        )
        self._stored = Declaration(from_probabilities, "The stored soft targets")
        self.checked: set[str] = set()

    @property
    def on_host(self) -> bool:
        """Whether the teacher runs in Python outside the graph."""
        return self.teacher is not None and self.teacher.on_host

    def check_temperature(self, losses: Sequence[Any]) -> None:
        """Rejects a loss at a temperature at which the teacher's logits are not valid.

        Raises:
            InputError: If there is such a loss.
        """
        only = None if self.teacher is None else self.teacher.temperature
        if only is None:
            return
        for loss in losses:
            received = loss.temperature if isinstance(loss, SoftTargetLoss) else None
            if received != only:
                raise InputError(
                    f"An arithmetic ensemble at temperature={only:g} is valid for SoftTargetLoss at"
                    f" that temperature only. Received: {type(loss).__name__} at"
                    f" temperature={received}. Use that temperature, or mean='geometric'."
                )

    def check_inputs(self, shapes: list[Shape] | None) -> None:
        """Rejects a teacher whose input shape differs from the student's.

        Args:
            shapes: Shapes of the student's inputs; None if unknown.

        Raises:
            InputError: If each model has one input, the shapes differ, and `preprocess` is None.
        """
        wanted = None if self.teacher is None else self.teacher.input_shapes
        if self.preprocess is not None or wanted is None or shapes is None:
            return
        if len(wanted) == len(shapes) == 1 and not _compatible(wanted[0], shapes[0]):
            raise InputError(
                f"Teacher and student must take the same input. Received: teacher {wanted[0]},"
                f" student {shapes[0]}. Give teacher_preprocess, a function from the student's"
                " input to the teacher's."
            )

    def check_compiler(self, jit_compile: bool) -> None:
        """Rejects XLA for a teacher that runs on the host.

        Raises:
            InputError: If XLA is on and the teacher runs on the host.
        """
        if jit_compile and self.on_host:
            raise InputError(
                f"`jit_compile` must be False with {type(self.teacher).__name__}, which XLA cannot"
                " compile. Store its logits (SoftTargetStore), or set jit_compile = False."
            )

    def checked_logits(self, x: Any, values: Collection[str]) -> Outputs:
        """Returns the live teacher's logits by output name, after checking for probabilities.

        Args:
            x: Some of the student's inputs.
            values: Names of regression outputs, which are not checked.

        Raises:
            InputError: As `Teacher.checked_logits`.
        """
        assert self.teacher is not None  # the caller knows
        return self.teacher.checked_logits(self._preprocessed(x), values)

    def check_stored(self, teacher: Any, values: Collection[str]) -> None:
        """Checks that the stored logits of a batch are not probabilities.

        Args:
            teacher: The field `teacher` of `Targets`.
            values: Names of regression outputs, which are not checked.

        Raises:
            InputError: If the values are probabilities but were not declared so, or were declared
                as probabilities but are not.
        """
        self._stored.check(outputs_by_name(teacher), values)

    def view(
        self, x: Any, targets: Targets, layers: Sequence[str], weights: Sequence[str] = ()
    ) -> View | None:
        """Returns the teacher's view of a batch; None without a teacher and without stored logits.

        Stored logits take precedence over a live teacher, which then runs only for features.

        Args:
            x: The student's inputs.
            targets: The targets in the data.
            layers: The teacher's layers to read.
            weights: The teacher's layers whose weights to read.

        Raises:
            InputError: If layers have to be read and there is no live teacher.
        """
        if layers and self.teacher is None:
            raise InputError(
                f"A loss reads the teacher's layers {', '.join(layers)}, so `teacher` must be"
                " given. Received: teacher=None. Stored targets hold logits only."
            )
        stored = None
        if targets.teacher is not None:
            stored = self._stored.logits(outputs_by_name(targets.teacher))
        if stored is not None and not layers:
            return View(check_finite(stored))
        if self.teacher is None:
            return None
        logits, features = self.teacher.read(self._preprocessed(x), layers)
        logits = check_finite(logits if stored is None else stored)
        read = {name: self.teacher.layer_weights(name) for name in weights}
        return View(logits, features, weights=read)

    def _preprocessed(self, x: Any) -> Any:
        return x if self.preprocess is None else self.preprocess(x)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A student, its teacher, and the losses between them.

    This is a plain object, so that Keras does not track its attributes.

    Attributes:
        reader: Reads the student.
        source: The teacher.
        soft_terms: The distillation losses.
        alpha: Weight of the soft terms; None: see `alpha_at`.
        evaluate_teacher: Whether evaluation runs a live teacher.
        tasks: The task of each output, by name; empty before labels and losses are known.
    """

    reader: ModelReader
    source: TeacherSource
    soft_terms: SoftTerms
    alpha: Schedule | None
    evaluate_teacher: bool = False
    tasks: Mapping[str, Task] = dataclasses.field(default_factory=dict)

    def can_evaluate(self, targets: Targets) -> bool:
        """Returns whether evaluation on these data has soft terms from stored logits."""
        return targets.teacher is not None and not self.soft_terms.layer_names("teacher")

    def teacher_view(self, element: Element, *, training: bool) -> View | None:
        """Returns the teacher's view of a batch; None in an evaluation without a teacher.

        Raises:
            InputError: If there are neither soft targets nor a teacher.
        """
        if not (training or self.evaluate_teacher or self.can_evaluate(element.targets)):
            return None
        layers, weights = self.soft_terms.layer_names("teacher"), self.soft_terms.weights_names()
        view = self.source.view(element.x, element.targets, layers, weights)
        if view is None:
            raise no_teacher()
        return view


def match_units(teacher: Outputs, student: Outputs) -> Outputs:
    """Converts the teacher's logits for two classes to the student's number of units.

    The conversion is exact at every temperature: softmax([z0, z1] / T)[1] = σ((z1 - z0) / T).

    Args:
        teacher: Logits by output name.
        student: Logits by output name.

    Example:
        >>> import tensorflow as tf
        >>> two, one = {"": tf.constant([[1.0, 3.0]])}, {"": tf.constant([[2.0]])}
        >>> match_units(two, one)[""].numpy().tolist(), match_units(one, two)[""].numpy().tolist()
        ([[2.0]], [[0.0, 2.0]])
    """
    found = dict(teacher)
    for name, logits in teacher.items():
        if name not in student or isinstance(logits, TopK):
            continue
        pair = _unit_counts(logits.shape, student[name].shape)
        if pair == (2, 1):
            first, second = tf.split(logits, 2, axis=-1)
            found[name] = second - first
        elif pair == (1, 2):
            found[name] = tf.concat([tf.zeros_like(logits), logits], axis=-1)
    return found


def match_unit_shapes(teacher: Outputs, student: Outputs) -> Outputs:
    """Applies `match_units` to objects that have only shapes."""
    found: dict[str, Any] = dict(teacher)
    for name, part in teacher.items():
        if name not in student or isinstance(part, TopK):
            continue
        if _unit_counts(part.shape, student[name].shape) in ((2, 1), (1, 2)):
            found[name] = keras.KerasTensor((*part.shape[:-1], student[name].shape[-1]))
    return found


def _unit_counts(teacher: Any, student: Any) -> tuple[int, int] | None:
    teacher, student = (tf.TensorShape(shape) for shape in (teacher, student))
    if teacher.rank is None or teacher.rank != student.rank or teacher.rank < 2:
        return None
    return teacher[-1] or 0, student[-1] or 0


def no_teacher() -> InputError:
    """Returns the error for data without soft targets if there is no teacher to compute them."""
    return InputError(
        "`teacher` must be given where the data carry no keras_distill.Targets. Received:"
        " teacher=None and plain labels."
    )


def _compatible(a: Shape, b: Shape) -> bool:
    """Returns whether Keras accepts one shape for the other (it adds or drops a last axis of 1)."""
    a, b = (shape[1:-1] if shape[-1] == 1 else shape[1:] for shape in (a, b))
    return len(a) == len(b) and all(None in (i, j) or i == j for i, j in zip(a, b, strict=True))
