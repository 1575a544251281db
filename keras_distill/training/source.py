"""The teacher's side of a Distiller: where logits and features come from."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_distill._checks import InputError, bad
from keras_distill._elements import Targets
from keras_distill.losses import SoftTargetLoss
from keras_distill.teachers import Teacher, as_teacher
from keras_distill.training import terms


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
        self.given = given
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

    def view(self, x: Any, targets: Targets, layers: Sequence[str]) -> terms.View | None:
        """What the losses see of the teacher.

        Stored logits win over a live teacher, which then runs for features only.

        Args:
            x: The student's inputs.
            targets: What the data carry.
            layers: The teacher's layers to read.

        Returns:
            None if there is neither a teacher nor stored logits.

        Raises:
            InputError: If layers are to be read and there is no live teacher.
        """
        if self.teacher is None:
            if layers:
                raise InputError(
                    f"A loss reads the teacher's layers {', '.join(layers)}, so `teacher` must be"
                    " given. Received: teacher=None. Stored targets hold logits only."
                )
            return None if targets.teacher is None else terms.View(targets.teacher)
        if targets.teacher is not None and not layers:
            return terms.View(targets.teacher)
        inputs = x if self.preprocess is None else self.preprocess(x)
        logits, features = self.teacher.outputs(inputs, layers)
        return terms.View(logits if targets.teacher is None else targets.teacher, features)


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
        parts: tuple[list, list, list] = ([], [], [])
        for name, part in losses.items():
            if weights is not None and (not isinstance(weights, dict) or name not in weights):
                raise bad("distillation_loss_weights", "be a dict with the losses' keys", weights)
            flat = flatten_losses(part, None if weights is None else weights[name])
            for target, values in zip(parts, (*flat[:2], [name] * len(flat[0])), strict=True):
                target.extend(values)
        return parts
    listed = list(losses) if isinstance(losses, list | tuple) else [losses]
    for loss in listed:
        _check_loss(loss)
    if weights is None:
        weights = [1.0] * len(listed)
    weights = list(weights) if isinstance(weights, list | tuple) else [weights]
    if len(weights) != len(listed):
        raise bad("distillation_loss_weights", f"have one per loss ({len(listed)})", weights)
    return listed, weights, [None] * len(listed)


def _check_loss(loss: Any) -> None:
    if not isinstance(loss, keras.distillation.DistillationLoss):
        raise bad(
            "distillation_losses",
            "be distillation losses",
            loss,
            "Use keras_distill.losses, or subclass DistillationLoss.",
        )
