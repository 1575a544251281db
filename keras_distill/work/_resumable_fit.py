"""Training with Keras's `fit` that resumes after an interruption, to the same result."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import keras

from keras_distill._internal._fused_normalization import fused_batch_normalization
from keras_distill._internal._types import Dataset
from keras_distill.work._state import TrainingState

# Keras spends about 40 ms per epoch outside the steps: a round has at least this many steps.
_STEPS_PER_ROUND = 100
STEPS_PER_EXECUTION = 32


def steps_per_execution(steps: int, most: int | None = None) -> int:
    """Returns the largest divisor of `steps` up to `most`, for `compile`.

    Keras 3 executes the last steps of an epoch in full: 19 steps, 16 at a time, are 32.

    Args:
        steps: Steps of an epoch of `fit`.
        most: The largest; None: 32.

    Example:
        >>> steps_per_execution(40), steps_per_execution(19, 16)
        (20, 1)
    """
    return max(d for d in range(1, (most or STEPS_PER_EXECUTION) + 1) if steps % d == 0)


@dataclass(frozen=True)
class Rounds:
    """Divides the epochs of a training into rounds, each of which is one epoch to Keras's `fit`.

    The state is saved, and validation runs, at the end of each round. A round is one epoch, or as
    many short epochs as make about 100 steps.

    Attributes:
        epochs: Number of epochs.
        steps: Steps per epoch.

    Example:
        >>> rounds = Rounds(epochs=60, steps=11)
        >>> rounds.epochs_per_round, rounds.count
        (10, 6)
    """

    epochs: int
    steps: int

    @property
    def epochs_per_round(self) -> int:
        """Smallest divisor of `epochs` that makes a round long enough."""
        wanted = -(-_STEPS_PER_ROUND // self.steps)
        return next(
            d
            for d in range(1, self.epochs + 1)
            if self.epochs % d == 0 and d >= min(wanted, self.epochs)
        )

    @property
    def count(self) -> int:
        """Number of rounds."""
        return self.epochs // self.epochs_per_round

    @property
    def steps_per_round(self) -> int:
        """Training steps of a round."""
        return self.epochs_per_round * self.steps

    def steps_per_execution(self, most: int | None = None) -> int:
        """Largest divisor of the round's steps up to `most` (None: 32), for `compile`."""
        return steps_per_execution(self.steps_per_round, most)


@dataclass
class Progress:
    """Rounds completed of a training, their wall time, and the logs of each round."""

    rounds: int = 0
    seconds: float = 0.0
    logs: dict[str, list[float]] = field(default_factory=dict)


class _SaveState(keras.callbacks.Callback):
    def __init__(
        self, state: TrainingState, progress: Progress, report: Callable[[int], None]
    ) -> None:
        super().__init__()
        self._state, self._progress, self._report = state, progress, report

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._since = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        now = time.monotonic()
        self._progress.rounds = epoch + 1
        self._progress.seconds += now - self._since
        self._since = now
        for key, value in (logs or {}).items():
            self._progress.logs.setdefault(key, []).append(float(value))
        assert self.model is not None  # Keras sets it before training begins
        self._state.save(training_variables(self.model), vars(self._progress))
        self._report(epoch + 1)


def training_variables(trainer: keras.Model) -> list[keras.Variable]:
    """Lists every variable that training changes: weights, seed generators, optimizer; no metrics.

    Args:
        trainer: A compiled model whose optimizer is built.
    """
    metrics = {id(v) for v in trainer.metrics_variables}
    own = [v for v in trainer.variables if id(v) not in metrics]
    return own + list(trainer.optimizer.variables)


def fit_resumable(
    trainer: keras.Model,
    data: Callable[[int], Dataset],
    rounds: Rounds,
    path: str | os.PathLike[str],
    *,
    validation_data: Dataset,
    report: Callable[[int], None] = lambda done: None,
) -> Progress:
    """Trains `trainer` with `fit`, or resumes from the state at `path`.

    The state is every variable of the trainer and its optimizer, seed generators included, so that
    an interrupted training and an uninterrupted one give the same result.

    Args:
        trainer: A compiled and built model: a student, a teacher, or a `Distiller`.
        data: Called with the number of the first epoch to train; yields the batches of that epoch
            and all later ones, in an order that depends on seed and epoch alone.
        rounds: How many epochs, of how many steps.
        path: The file of the state (`.npz`).
        validation_data: Batches for validation after each round.
        report: Called after each round, with the number of rounds completed.

    Returns:
        The logs of all rounds. The trainer has the final weights.

    Raises:
        InputError: If the state at `path` is damaged or of another model.
    """
    trainer.optimizer.build(trainer.trainable_variables)
    state = TrainingState(path)
    progress = Progress(**(state.restore(training_variables(trainer)) or {}))
    if progress.rounds >= rounds.count:
        return progress
    with fused_batch_normalization(trainer):
        trainer.fit(
            data(progress.rounds * rounds.epochs_per_round),
            initial_epoch=progress.rounds,
            epochs=rounds.count,
            steps_per_epoch=rounds.steps_per_round,
            validation_data=validation_data,
            callbacks=[_SaveState(state, progress, report)],
            shuffle=False,
            verbose=0,  # pyright: ignore[reportArgumentType]
        )
    return progress
