"""`fit` that can be killed at any moment and goes on to the same result."""

import json
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, _files

# Keras spends some 40 ms per epoch beside the steps: a round has at least this many steps.
_STEPS_PER_ROUND = 100
_STEPS_PER_EXECUTION = 32


@dataclass(frozen=True)
class Rounds:
    """How the epochs of a training are cut into rounds, which `fit` takes for its epochs.

    State is kept, and validation is done, at the end of each round. A round is one epoch, or as
    many short ones as make about 100 steps.

    Attributes:
        epochs: Epochs in all.
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
        """The smallest divisor of `epochs` that makes a round long enough."""
        wanted = -(-_STEPS_PER_ROUND // self.steps)
        return next(
            d
            for d in range(1, self.epochs + 1)
            if self.epochs % d == 0 and d >= min(wanted, self.epochs)
        )

    @property
    def count(self) -> int:
        """Rounds in all."""
        return self.epochs // self.epochs_per_round

    @property
    def steps_per_round(self) -> int:
        """Training steps of a round."""
        return self.epochs_per_round * self.steps

    @property
    def steps_per_execution(self) -> int:
        """The largest divisor of the round's steps up to 32: what `compile` takes."""
        return max(d for d in range(1, _STEPS_PER_EXECUTION + 1) if self.steps_per_round % d == 0)


@dataclass
class Progress:
    """What has been done of a training: rounds, wall time, and the logs of each round."""

    rounds: int = 0
    seconds: float = 0.0
    logs: dict[str, list[float]] = field(default_factory=dict)


class _KeepState(keras.callbacks.Callback):
    def __init__(self, path: Path, progress: Progress, report: Callable[[int], None]) -> None:
        super().__init__()
        self._path, self._progress, self._report = path, progress, report

    def on_train_begin(self, logs=None) -> None:
        self._since = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        now = time.monotonic()
        self._progress.rounds = epoch + 1
        self._progress.seconds += now - self._since
        self._since = now
        for key, value in (logs or {}).items():
            self._progress.logs.setdefault(key, []).append(float(value))
        _save(self._path, self.model, self._progress)
        self._report(epoch + 1)


def variables(trainer: keras.Model) -> list[keras.Variable]:
    """Every variable that training changes: weights, seed generators, optimizer; no metrics."""
    metrics = {id(v) for v in trainer.metrics_variables}
    own = [v for v in trainer.variables if id(v) not in metrics]
    return own + list(trainer.optimizer.variables)


def _save(path: Path, trainer: keras.Model, progress: Progress) -> None:
    arrays = {f"v{i}": v.numpy() for i, v in enumerate(variables(trainer))}
    about = json.dumps(vars(progress)).encode()
    with _files.atomic_path(path, overwrite=True) as temporary, open(temporary, "wb") as file:
        np.savez(file, about=np.frombuffer(about, np.uint8), **arrays)


def load(path: Path, trainer: keras.Model) -> Progress:
    """Puts the state at `path` into the trainer; returns what had been done.

    Raises:
        InputError: If the file is damaged or of another model.
    """
    own = variables(trainer)
    try:
        with np.load(path, allow_pickle=False) as state:
            progress = Progress(**json.loads(state["about"].tobytes()))
            values = [state[f"v{i}"] for i in range(len(state.files) - 1)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged ({error}). Remove it to train again.") from error
    shapes = [tuple(v.shape) for v in own]
    if [v.shape for v in values] != shapes:
        raise InputError(f"{path} is of another model. Remove it to train again.")
    for variable, value in zip(own, values, strict=True):
        variable.assign(value)
    return progress


def fit(
    trainer: keras.Model,
    data: Callable[[int], tf.data.Dataset],
    rounds: Rounds,
    path: str | os.PathLike,
    *,
    validation_data: tf.data.Dataset,
    report: Callable[[int], None] = lambda done: None,
) -> Progress:
    """Trains `trainer` with `fit`, or goes on where the state at `path` left off.

    The state is every variable of the trainer and its optimizer, seed generators included, so that
    an interrupted training and an uninterrupted one end alike.

    Args:
        trainer: A compiled and built model: a student, a teacher, or a `Distiller`.
        data: Called with the first epoch to do; yields the batches of that epoch and all later
            ones, in an order that depends on seed and epoch alone.
        rounds: How many epochs, of how many steps.
        path: Where the state is kept (`.npz`).
        validation_data: Batches for validation after each round.
        report: Called with the rounds done, after each.

    Returns:
        The logs of all rounds. The trainer holds the final weights.

    Raises:
        InputError: If the state at `path` is damaged or of another model.
    """
    path = Path(path)
    trainer.optimizer.build(trainer.trainable_variables)
    progress = load(path, trainer) if path.exists() else Progress()
    if progress.rounds >= rounds.count:
        return progress
    trainer.fit(
        data(progress.rounds * rounds.epochs_per_round),
        initial_epoch=progress.rounds,
        epochs=rounds.count,
        steps_per_epoch=rounds.steps_per_round,
        validation_data=validation_data,
        callbacks=[_KeepState(path, progress, report)],
        shuffle=False,
        verbose=0,
    )
    return progress
