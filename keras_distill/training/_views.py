"""Teacher and student as a pair, and what the losses see of them in one batch."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_distill._internal import InputError, bad
from keras_distill._internal._keras_private import mask_of
from keras_distill._internal._soft_targets import Targets
from keras_distill._internal._types import Outputs, Schedule, Shape
from keras_distill.losses import SoftTargetLoss
from keras_distill.teachers import ModelReader, Teacher, as_teacher, outputs_by_name
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
    """A live teacher, or none: then the data must carry `Targets`.

    It is a plain object, so that Keras neither tracks, nor trains, nor saves the teacher.

    Args:
        given: What the user gave as teacher; None without one.
        preprocess: Converts the student's x to the teacher's, inside the graph; None: the same x.

    Attributes:
        teacher: The teacher; None without one.
        checked: Whether its logits were checked on the first batch of some data.

    Raises:
        InputError: If `given` is not a teacher, or `preprocess` comes without one.
    """

    def __init__(self, given: Any = None, preprocess: Callable[[Any], Any] | None = None) -> None:
        if preprocess is not None and (given is None or not callable(preprocess)):
            raise bad("teacher_preprocess", "be a function, and come with a teacher", preprocess)
        self.preprocess = preprocess
        self.teacher: Teacher | None = None if given is None else as_teacher(given)
        self.checked = False

    @property
    def on_host(self) -> bool:
        """Whether the teacher runs in Python outside the graph."""
        return self.teacher is not None and self.teacher.on_host

    def check_temperature(self, losses: Sequence[Any]) -> None:
        """Refuses a loss at a temperature at which the teacher's logits are not valid.

        Raises:
            InputError: If there is one.
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
        """Refuses a teacher whose input has another shape than the student's.

        Args:
            shapes: Shapes of the student's inputs; None if unknown.

        Raises:
            InputError: If each has one input, their shapes differ, and there is no preprocessing.
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
        """Refuses XLA for a teacher that runs on the host.

        Raises:
            InputError: If XLA is on and the teacher runs on the host.
        """
        if jit_compile and self.on_host:
            raise InputError(
                f"`jit_compile` must be False with {type(self.teacher).__name__}, which XLA cannot"
                " compile. Store its logits (SoftTargetStore), or set jit_compile = False."
            )

    def logits(self, x: Any, *, check: bool) -> Outputs:
        """Returns the live teacher's logits for the student's inputs, by output name.

        Args:
            x: The student's inputs.
            check: Whether to refuse probabilities, as `Teacher.checked_logits` does.
        """
        assert self.teacher is not None  # the caller knows
        x = self._preprocessed(x)
        return self.teacher.checked_logits(x) if check else self.teacher.read(x)[0]

    def view(
        self, x: Any, targets: Targets, layers: Sequence[str], weights: Sequence[str] = ()
    ) -> View | None:
        """Returns the teacher's view of a batch; None without a teacher and stored logits.

        Stored logits take precedence over a live teacher, which then runs for features only.

        Args:
            x: The student's inputs.
            targets: What the data carry.
            layers: The teacher's layers to read.
            weights: The teacher's layers whose weights to read.

        Raises:
            InputError: If there are layers to read and no live teacher.
        """
        if layers and self.teacher is None:
            raise InputError(
                f"A loss reads the teacher's layers {', '.join(layers)}, so `teacher` must be"
                " given. Received: teacher=None. Stored targets hold logits only."
            )
        stored = None if targets.teacher is None else outputs_by_name(targets.teacher)
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

    It is a plain object, so that Keras does not track what it holds.

    Attributes:
        reader: Reads the student.
        source: The teacher.
        soft_terms: The distillation losses.
        alpha: Weight of the soft terms.
        evaluate_teacher: Whether evaluation runs a live teacher.
    """

    reader: ModelReader
    source: TeacherSource
    soft_terms: SoftTerms
    alpha: Schedule
    evaluate_teacher: bool = False

    def can_evaluate(self, targets: Targets) -> bool:
        """Returns whether evaluation on these data has soft terms from stored logits."""
        return targets.teacher is not None and not self.soft_terms.layer_names("teacher")

    def teacher_view(self, element: Element, *, training: bool) -> View | None:
        """Returns the teacher's view of a batch; None in an evaluation without teacher.

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


def no_teacher() -> InputError:
    """Returns the error for data without soft targets and no teacher to compute them."""
    return InputError(
        "`teacher` must be given where the data carry no keras_distill.Targets. Received:"
        " teacher=None and plain labels."
    )


def _compatible(a: Shape, b: Shape) -> bool:
    """Returns whether Keras accepts one shape for the other: it adds or drops a last axis of 1."""
    a, b = (shape[1:-1] if shape[-1] == 1 else shape[1:] for shape in (a, b))
    return len(a) == len(b) and all(None in (i, j) or i == j for i, j in zip(a, b, strict=True))
