"""The optimizer of some training settings."""

from types import ModuleType
from typing import Any

import keras

from keras_distill.records import TrainingSettings


def make_optimizer(
    settings: TrainingSettings, steps: int, *, optimizers: ModuleType = keras.optimizers
) -> Any:
    """Makes the optimizer of `settings` for a training of `steps` steps.

    Args:
        settings: Optimizer, learning rate, schedule, weight decay, momentum.
        steps: Training steps in total: a cosine schedule reaches 0 at the last one.
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
    rate: Any = settings.learning_rate
    if settings.schedule == "cosine":
        rate = optimizers.schedules.CosineDecay(rate, decay_steps=steps)
    decay = {} if settings.weight_decay is None else {"weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        return optimizers.SGD(rate, momentum=settings.momentum, nesterov=True, **decay)
    return {"adam": optimizers.Adam, "adamw": optimizers.AdamW}[settings.optimizer](rate, **decay)
