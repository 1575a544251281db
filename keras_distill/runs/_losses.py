"""Creates the losses and schedules that a recipe names."""

from typing import Any

from keras_distill import losses
from keras_distill._internal import InputError
from keras_distill._internal._types import Schedule
from keras_distill.records import DistillationPart, SchedulePart
from keras_distill.training import CosineSchedule, LinearSchedule

_SCHEDULES = {"linear": LinearSchedule, "cosine": CosineSchedule}


def schedule(setting: float | SchedulePart, steps: int | None) -> Schedule:
    """Returns a number unchanged, and converts a schedule of a recipe to a `Schedule`.

    Args:
        setting: The value in the recipe.
        steps: Total number of training steps; None if unknown.

    Raises:
        InputError: If the number of steps is needed but unknown.

    Example:
        >>> change = schedule(SchedulePart(schedule="linear", start=8, end=1, delay=10), steps=110)
        >>> change.steps, float(change(60))
        (100, 4.5)
    """
    if not isinstance(setting, SchedulePart):
        return setting
    if setting.steps is None and steps is None:
        raise InputError(
            f"A schedule must have `steps` where `training.budget` decides how many there are."
            f" Received: {setting}"
        )
    last = max((steps or 0) - setting.delay, 1) if setting.steps is None else setting.steps
    return _SCHEDULES[setting.schedule](setting.start, setting.end, last, delay=setting.delay)


def distillation_losses(
    part: DistillationPart,
    steps: int | None,
    *,
    alpha: Schedule | None = None,
    temperature: Schedule | None = None,
) -> dict[str, Any]:
    """Returns the arguments of a `Distiller` that a recipe sets: losses, weights, alpha.

    Without losses in the recipe, the temperature is returned instead of losses and weights.

    Args:
        part: The part of the recipe.
        steps: Total number of training steps, for schedules; None if unknown.
        alpha: Replaces the alpha of the recipe. If None, that of the recipe.
        temperature: Replaces the temperature of the recipe. If None, that of the recipe.

    Raises:
        InputError: If a setting of a loss is not valid or missing, or a schedule needs the number
            of steps.
    """
    if temperature is None:
        temperature = schedule(part.temperature, steps)
    share = {"alpha": schedule(part.alpha, steps) if alpha is None else alpha}
    if not part.losses:
        return {**share, "temperature": temperature}
    made, weights = [], []
    for i, term in enumerate(part.losses):
        kind = getattr(losses, term.loss)
        given = {name: _setting(value, steps) for name, value in term.settings.items()}
        if term.softens_logits:
            given.setdefault("temperature", temperature)
        try:
            made.append(kind(**given))
        except InputError as error:
            raise InputError(f"distillation.losses.{i}: {term.loss}: {error}") from error
        except TypeError as error:
            raise InputError(
                f"distillation.losses.{i}: {term.loss} must have all of its settings ({error})."
            ) from error
        weights.append(schedule(term.weight, steps))
    return {**share, "distillation_losses": made, "distillation_loss_weights": weights}


def reads_layers(part: DistillationPart) -> bool:
    """Returns whether a loss reads inner layers, so that the teacher has to run in every step."""
    return any(term.reads_layers for term in part.losses)


def logits_only(part: DistillationPart) -> DistillationPart:
    """Returns the part without the losses that read inner layers.

    If no loss is left, the part has the default loss.
    """
    kept = tuple(term for term in part.losses if not term.reads_layers)
    return part.model_copy(update={"losses": kept})


def _setting(value: Any, steps: int | None) -> Any:
    return schedule(value, steps) if isinstance(value, SchedulePart) else value
