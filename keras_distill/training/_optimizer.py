"""The optimizer of training settings, and a trainer compiled with it."""

from types import ModuleType
from typing import Any

import keras

from keras_distill.records import TrainingSettings
from keras_distill.teachers import find_heads
from keras_distill.training._distiller import Distiller
from keras_distill.work import Rounds


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


def compile_classifier(trainer: keras.Model, settings: TrainingSettings, rounds: Rounds) -> None:
    """Compiles a student, a teacher, or a `Distiller` for class ids and `work.fit_resumable`.

    Args:
        trainer: A classifier that ends in logits or in softmax, or a `Distiller` around one.
        settings: The optimizer, and the most steps per execution (32 by default).
        rounds: What it will be trained for. Steps per execution divide the steps of a round.
    """
    model = trainer.student if isinstance(trainer, Distiller) else trainer
    softmax = find_heads(model).kind == "softmax"
    trainer.compile(
        optimizer=make_optimizer(settings, rounds.epochs * rounds.steps),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax),
        metrics=["accuracy"],
        steps_per_execution=rounds.steps_per_execution(settings.steps_per_execution),
    )
