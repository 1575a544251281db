"""The optimizer of training settings."""

from types import ModuleType
from typing import Any

import keras

from keras_distill.records import TrainingSettings


def make_optimizer(
    settings: TrainingSettings, steps: int, *, optimizers: ModuleType = keras.optimizers
) -> Any:
    """Creates the optimizer of `settings` for a training of `steps` steps.

    Args:
        settings: Optimizer, learning rate, schedule, warm-up, weight decay, momentum, clipping.
        steps: Total number of training steps. A cosine schedule reaches 0 at the last step.
        optimizers: The module with the optimizer classes: `keras.optimizers`, or
            `tf_keras.optimizers` for a tf_keras model.

    Returns:
        An optimizer of that module, not yet built.

    Example:
        >>> settings = TrainingSettings(optimizer="adamw", schedule="constant")
        >>> optimizer = make_optimizer(settings, steps=100)
        >>> type(optimizer).__name__, optimizer.weight_decay
        ('AdamW', 0.004)
    """
    rate = _learning_rate(settings, steps, optimizers.schedules)
    more: dict[str, Any] = {}
    if settings.weight_decay is not None:
        more["weight_decay"] = settings.weight_decay
    if settings.clip_norm is not None:
        more["global_clipnorm"] = settings.clip_norm
    if settings.optimizer == "sgd":
        return optimizers.SGD(rate, momentum=settings.momentum, nesterov=True, **more)
    return {"adam": optimizers.Adam, "adamw": optimizers.AdamW}[settings.optimizer](rate, **more)


def _learning_rate(settings: TrainingSettings, steps: int, schedules: ModuleType) -> Any:
    """Returns the learning rate as a number, or as a schedule of that module."""
    rate = settings.learning_rate
    warmup = min(round(settings.warmup / settings.epochs * steps), steps)
    if settings.schedule == "cosine":
        if not warmup:
            return schedules.CosineDecay(rate, decay_steps=steps)
        rising = {"warmup_target": rate, "warmup_steps": warmup}
        return schedules.CosineDecay(0.0, decay_steps=max(steps - warmup, 1), **rising)
    if not warmup:
        return rate
    return schedules.PolynomialDecay(0.0, decay_steps=warmup, end_learning_rate=rate)
