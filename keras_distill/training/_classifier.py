"""Compiles classifiers, and Distillers around them, for `work.fit_resumable`."""

import math

import keras

from keras_distill.records import ClassifierSettings, TrainingSettings
from keras_distill.teachers import find_heads
from keras_distill.training._distiller import Distiller
from keras_distill.training._label_smoothing import SmoothedCrossentropy
from keras_distill.training._optimizer import make_optimizer
from keras_distill.training._task import bit_accuracy
from keras_distill.work import Ending, Rounds

# Steps per execution of a training with a time budget. Such a training can end, and change its
# learning rate, only between executions.
_TIMED_EXECUTION = 8


def compile_classifier(
    trainer: keras.Model,
    settings: TrainingSettings,
    rounds: Rounds,
    *,
    label_smoothing: float = 0.0,
    rows: bool = False,
) -> None:
    """Compiles a student, a teacher, or a `Distiller` for `work.fit_resumable`.

    Args:
        trainer: A classifier, or a `Distiller` around one. The classifier ends in logits or
            softmax; with two classes, it may also end in one unit with or without sigmoid.
        settings: The optimizer, and the maximum number of steps per execution (32 by default).
        rounds: The length of the training. Steps per execution divide the steps of a round.
        label_smoothing: Fraction of the label's probability that is spread over all classes.
        rows: Whether labels are rows of probabilities instead of class ids. The classifier then
            has one unit per class.
    """
    model = trainer.student if isinstance(trainer, Distiller) else trainer
    head = find_heads(model)
    logits, metric = head.kind not in ("softmax", "sigmoid"), "accuracy"
    if model.output_shape[-1] == 1:
        loss = keras.losses.BinaryCrossentropy(logits, label_smoothing=label_smoothing)
        metric = bit_accuracy(head)
    elif rows:
        loss = keras.losses.CategoricalCrossentropy(logits, label_smoothing)
    elif label_smoothing:
        loss = SmoothedCrossentropy(label_smoothing, from_logits=logits)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    most = settings.steps_per_execution
    if rounds.epochs is None:  # `ending_of` gives the learning rate
        optimizer = make_optimizer(settings.model_copy(update=_AT_ONCE), 1)
        most = most or _TIMED_EXECUTION
    else:
        optimizer = make_optimizer(settings, rounds.epochs * rounds.steps)
    trainer.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=[metric],
        steps_per_execution=rounds.steps_per_execution(most),
    )


_AT_ONCE = {"schedule": "constant", "warmup": 0.0}


def rounds_of(settings: ClassifierSettings, examples: int) -> Rounds:
    """Returns the rounds of a training on this number of examples."""
    steps = math.ceil(examples / settings.batch_size)
    return Rounds(None if settings.seconds else settings.epochs, steps)


def ending_of(settings: ClassifierSettings, rounds: Rounds) -> Ending:
    """Returns when a training with these settings ends before its last round.

    With a time budget, the schedule's position is the fraction of the time that has passed. The
    warm-up is counted in steps, as without a budget.

    Example:
        >>> settings = ClassifierSettings(budget="1m", patience=25, learning_rate=0.1)
        >>> ending = ending_of(settings, rounds_of(settings, 1280))
        >>> ending.patience, ending.seconds, ending.rate(0.5, 0)
        (3, 60.0, 0.05)
    """
    patience = settings.patience and math.ceil(settings.patience / rounds.epochs_per_round)
    if settings.seconds is None:
        return Ending(patience)
    warmup = settings.warmup * rounds.steps

    def rate(share: float, step: int) -> float:
        falls = settings.schedule == "cosine"
        now = (1 + math.cos(math.pi * share)) / 2 if falls else 1.0
        return settings.learning_rate * now * min((step + 1) / warmup if warmup else 1.0, 1.0)

    return Ending(patience, settings.seconds, rate)
