"""The teacher's side of a Distiller: where logits and features come from."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_distill._internal import InputError, bad
from keras_distill._internal._elements import Targets
from keras_distill.losses import SoftTargetLoss
from keras_distill.losses._base import check_setting
from keras_distill.teachers import Teacher, as_teacher
from keras_distill.training import _terms


class TeacherSource:
    """A live teacher, or none: then the data must carry `Targets`.

    It is a plain object, so that Keras neither tracks, nor trains, nor saves what it holds.

    Args:
        given: What the user gave as teacher; None without one.
        preprocess: Turns the student's x into the teacher's, inside the graph; None: the same.

    Raises:
        InputError: If `given` cannot teach, or `preprocess` comes without it.
    """

    def __init__(self, given: Any = None, preprocess: Callable[[Any], Any] | None = None) -> None:
        if preprocess is not None and (given is None or not callable(preprocess)):
            raise bad("teacher_preprocess", "be a function, beside a teacher", preprocess)
        self.preprocess = preprocess
        self.teacher: Teacher | None = None if given is None else as_teacher(given)

    def check_temperature(self, losses: Sequence[Any]) -> None:
        """Refuses a loss at another temperature than the teacher's logits are good for.

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
                    f"An arithmetic ensemble at temperature={only:g} is good for SoftTargetLoss at"
                    f" that temperature only. Received: {type(loss).__name__} at"
                    f" temperature={received}. Use that temperature, or mean='geometric'."
                )

    def check_inputs(self, shapes: list[tuple] | None) -> None:
        """Refuses a teacher with an input of another shape than the student's.

        Args:
            shapes: Shapes of the student's inputs, None where not known.

        Raises:
            InputError: If each has one input, their shapes differ, and nothing is preprocessed.
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
            InputError: If both are there.
        """
        if jit_compile and self.teacher is not None and self.teacher.on_host:
            raise InputError(
                f"`jit_compile` must be False with {type(self.teacher).__name__}, which XLA cannot"
                " compile. Store its logits (SoftTargetStore), or set jit_compile = False."
            )

    def look(self, x: Any, *, doubt: bool = True) -> Any:
        """The live teacher's logits for the student's inputs.

        Args:
            x: The student's inputs.
            doubt: Whether to check that they are no probabilities, as `Teacher.look` does.
        """
        x = self._preprocessed(x)
        return self.teacher.look(x) if doubt else self.teacher.logits(x)

    def _preprocessed(self, x: Any) -> Any:
        return x if self.preprocess is None else self.preprocess(x)

    def view(self, x: Any, targets: Targets, layers: Sequence[str]) -> _terms.View | None:
        """What the losses see of the teacher; None if there is neither one nor stored logits.

        Stored logits win over a live teacher, which then runs for features only.

        Args:
            x: The student's inputs.
            targets: What the data carry.
            layers: The teacher's layers to read.

        Raises:
            InputError: If layers are to be read and there is no live teacher.
        """
        if layers and self.teacher is None:
            raise InputError(
                f"A loss reads the teacher's layers {', '.join(layers)}, so `teacher` must be"
                " given. Received: teacher=None. Stored targets hold logits only."
            )
        stored = targets.teacher
        if stored is not None and not layers:
            return _terms.View(stored)
        if self.teacher is None:
            return None
        logits, features = self.teacher.outputs(self._preprocessed(x), layers)
        return _terms.View(logits if stored is None else stored, features)


def no_teacher() -> InputError:
    """Returns the error for data without soft targets and no teacher to make them."""
    return InputError(
        "`teacher` must be given where the data carry no keras_distill.Targets. Received:"
        " teacher=None and plain labels."
    )


def _compatible(a: tuple, b: tuple) -> bool:
    """Whether Keras takes one for the other: it adds or drops a last axis of 1."""
    a, b = (shape[1:-1] if shape[-1] == 1 else shape[1:] for shape in (a, b))
    return len(a) == len(b) and all(None in (i, j) or i == j for i, j in zip(a, b, strict=True))


def flatten_losses(losses: Any, weights: Any) -> tuple[list[Any], list[Any], list[str | None]]:
    """A loss, a list, or a dict of these by output name, as parallel lists.

    Args:
        losses: One loss, several, or a dict from output name to one or several.
        weights: None (all 1), or numbers and schedules in the same structure.

    Returns:
        Losses, weights, and the output each is for (None: every output).

    Raises:
        InputError: If something is no loss, or the structures differ.
    """
    if isinstance(losses, dict):
        if weights is not None and (not isinstance(weights, dict) or set(weights) != set(losses)):
            raise bad("distillation_loss_weights", "be a dict with the losses' keys", weights)
        found: tuple[list, list, list] = ([], [], [])
        for name, part in losses.items():
            listed, values, _ = flatten_losses(part, None if weights is None else weights[name])
            for target, more in zip(found, (listed, values, [name] * len(listed)), strict=True):
                target.extend(more)
        return found
    listed = list(losses) if isinstance(losses, list | tuple) else [losses]
    if not listed or not all(isinstance(x, keras.distillation.DistillationLoss) for x in listed):
        raise bad(
            "distillation_losses",
            "be one or more distillation losses",
            losses,
            "Use keras_distill.losses, or subclass DistillationLoss.",
        )
    if weights is None:
        weights = [1.0] * len(listed)
    weights = list(weights) if isinstance(weights, list | tuple) else [weights]
    if len(weights) != len(listed):
        raise bad("distillation_loss_weights", f"have one per loss ({len(listed)})", weights)
    for weight in weights:
        check_setting("distillation_loss_weights", weight, at_least=0)
    return listed, weights, [None] * len(listed)
