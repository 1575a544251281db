"""The configuration of a Distiller as Keras saves it: the student, the losses, and the settings."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_distill._internal._types import Schedule
from keras_distill.losses import deserialized, serialized
from keras_distill.training._terms import SoftTerms
from keras_distill.training._views import Pair


def to_config(student: keras.Model, pair: Pair) -> dict[str, Any]:
    """Returns the arguments of a Distiller's constructor as JSON values, without the teacher.

    Raises:
        InputError: If a schedule is a lambda.
    """
    soft, default = pair.soft_terms, pair.soft_terms.default
    config = {
        "student": keras.saving.serialize_keras_object(student),
        "alpha": None if pair.alpha is None else serialized("alpha", pair.alpha),
        "evaluate_teacher": pair.evaluate_teacher,
        "terms": _terms_config(soft) if default is None else None,
    }
    if default is not None:
        config["default"] = {
            "temperature": serialized("temperature", default.temperature),
            "weight": serialized("distillation_loss_weights", default.weight),
        }
    return config


def from_config(
    config: dict[str, Any], custom_objects: Any
) -> tuple[dict[str, Any], dict[int, keras.layers.Layer]]:
    """Returns the constructor's arguments, and the projectors by the index of their loss.

    Args:
        config: The result of `to_config`, and settings that already are JSON values.
        custom_objects: The user's custom classes by name, or None.
    """
    settings = dict(config)
    with keras.saving.custom_object_scope(custom_objects or {}):
        listed, default = settings.pop("terms"), settings.pop("default", None)
        if listed is None:  # the tasks choose the losses
            terms: dict[str, Any] = {
                "temperature": deserialized(default["temperature"]),
                "distillation_loss_weights": deserialized(default["weight"]),
            }
            projectors: list[Any] = []
        else:
            terms, projectors = _terms_arguments(listed)
        settings["student"] = deserialized(settings["student"])
        settings["alpha"] = deserialized(settings["alpha"])
    return {**settings, **terms}, {i: p for i, p in enumerate(projectors) if p is not None}


def _terms_config(soft: SoftTerms) -> list[dict[str, Any]]:
    """Returns the soft terms as JSON values.

    Raises:
        InputError: If a schedule is a lambda.
    """
    return [
        {
            "loss": keras.saving.serialize_keras_object(loss),
            "weight": serialized("distillation_loss_weights", weight),
            "output": output,
            "projector": projector and keras.saving.serialize_keras_object(projector),
        }
        for loss, weight, output, projector in zip(
            soft.losses, soft.weights, soft.outputs, soft.projectors, strict=True
        )
    ]


def _terms_arguments(terms: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], list[Any]]:
    """Returns the constructor's arguments for the soft terms, and their projectors.

    Args:
        terms: The result of `_terms_config`.
    """
    outputs: list[str | None] = [part["output"] for part in terms]
    losses = [deserialized(part["loss"]) for part in terms]
    weights: list[Schedule] = [deserialized(part["weight"]) for part in terms]
    arguments = {
        "distillation_losses": by_output(outputs, losses),
        "distillation_loss_weights": by_output(outputs, weights),
    }
    return arguments, [deserialized(part["projector"]) for part in terms]


def by_output(outputs: Sequence[str | None], values: Sequence[Any]) -> Any:
    """Returns values of the soft terms in the form that the Distiller's constructor takes.

    Args:
        outputs: The output of each term; None for every output.
        values: One value per term.

    Example:
        >>> by_output([None, None], [1.0, 2.0]), by_output(["a", "b", "a"], [1.0, 2.0, 3.0])
        ([1.0, 2.0], {'a': [1.0, 3.0], 'b': [2.0]})
    """
    if outputs[0] is None:
        return list(values)
    grouped: dict[str | None, list[Any]] = {}
    for name, value in zip(outputs, values, strict=True):
        grouped.setdefault(name, []).append(value)
    return grouped
