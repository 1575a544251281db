"""Settings of losses: a number, or a schedule that depends on the optimizer's step."""

from typing import Any

import keras

from keras_distill._internal import InputError, bad, check_number
from keras_distill._internal._types import Json, Schedule, Step

# The package name under which every class of keras_distill is registered with Keras for saving.
PACKAGE = "keras_distill"

# A step that no training reaches: every schedule with an end has reached its end here.
_LAST_STEP = 2**31 - 1
_schedules = keras.optimizers.schedules


def value_at(setting: Schedule, step: Step = None) -> Any:
    """Returns the value of a setting at a step.

    Args:
        setting: A number, or a callable of the step.
        step: The optimizer's step, a scalar tensor or variable; required only for a schedule.

    Returns:
        The number itself, or the schedule's value at the step. Inside a graph this value is a
        scalar tensor, so a new value never causes retracing.

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


def check_setting(
    name: str,
    setting: Schedule,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Schedule:
    """Returns the setting if its number, or the known values of its schedule, are within bounds.

    Schedules of Keras and of this package that have an end are checked at their start, in between,
    and at their end. Any other callable is checked at step 0 only.

    Args:
        name: The argument's name.
        setting: A number, or a callable of the step.
        above: See `check_number`.
        at_least: See `check_number`.
        at_most: See `check_number`.

    Raises:
        InputError: If the setting is out of bounds, or is neither a number nor a callable.

    Example:
        >>> check_setting("temperature", 4.0, above=0)
        4.0
    """
    bounds = {"above": above, "at_least": at_least, "at_most": at_most}
    if not callable(setting):
        return check_number(name, setting, **bounds)
    for step in _steps_to_check(setting):
        which = f"the last value of {name}" if step == _LAST_STEP else f"{name}({step})"
        check_number(which, float(value_at(setting, step)), **bounds)
    return setting


def _steps_to_check(schedule: object) -> list[int]:
    """Returns the steps at which to check a schedule of Keras or of this package."""
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


def serialized(name: str, setting: Schedule) -> Json:
    """Returns a setting in its JSON form.

    Raises:
        InputError: If the setting is a lambda, which cannot be saved safely.
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
    """Restores a setting, or any other object, from the JSON form that `serialized` returned."""
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    return value
