"""The settings of a Distiller as JSON holds them."""

from typing import Any

import keras

from keras_distill.losses._base import deserialized, serialized


def config_of(distiller: Any) -> dict[str, Any]:
    """Everything but the teacher.

    Raises:
        InputError: If a schedule is a lambda.
    """
    soft = distiller.soft_terms
    return {
        "name": distiller.name,
        "student": keras.saving.serialize_keras_object(distiller.student),
        "alpha": serialized("alpha", distiller.alpha),
        "agreement": distiller.agreement_metric is not None,
        "evaluate_teacher": distiller.evaluate_teacher,
        "terms": [
            {
                "loss": keras.saving.serialize_keras_object(loss),
                "weight": serialized("distillation_loss_weights", weight),
                "output": output,
                "projector": projector and keras.saving.serialize_keras_object(projector),
            }
            for loss, weight, output, projector in zip(
                soft.losses, soft.weights, soft.outputs, soft.projectors, strict=True
            )
        ],
    }


def settings_from(config: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """The constructor's arguments, and the projectors, from `config_of`'s settings."""
    settings = dict(config)
    parts = settings.pop("terms")
    settings["student"] = deserialized(settings["student"])
    settings["alpha"] = deserialized(settings["alpha"])
    losses = [(part["output"], deserialized(part["loss"])) for part in parts]
    weights = [(part["output"], deserialized(part["weight"])) for part in parts]
    settings["distillation_losses"] = _by_output(losses)
    settings["distillation_loss_weights"] = _by_output(weights)
    return settings, [deserialized(part["projector"]) for part in parts]


def _by_output(pairs: list[tuple[str | None, Any]]) -> Any:
    if pairs[0][0] is None:
        return [value for _, value in pairs]
    grouped: dict[str, list] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped
