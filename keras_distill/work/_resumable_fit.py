"""Training with Keras's `fit` that resumes after an interruption, to the same result."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import keras

from keras_distill._internal._fused_normalization import fused_batch_normalization
from keras_distill._internal._progress import Task, silent
from keras_distill._internal._types import Dataset
from keras_distill.work._state import TrainingState

# Keras spends about 40 ms per epoch outside the steps: a round has at least this many steps.
_STEPS_PER_ROUND = 100
STEPS_PER_EXECUTION = 32
_WATCHED = "val_accuracy"
_ENDLESS = 10**9


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
        epochs: Number of epochs; None: as many as fit into the time of an `Ending`.
        steps: Steps per epoch.

    Example:
        >>> rounds = Rounds(epochs=60, steps=11)
        >>> rounds.epochs_per_round, rounds.count
        (10, 6)
    """

    epochs: int | None
    steps: int

    @property
    def epochs_per_round(self) -> int:
        """Smallest divisor of `epochs` that makes a round long enough."""
        wanted = -(-_STEPS_PER_ROUND // self.steps)
        if self.epochs is None:
            return wanted
        least = min(wanted, self.epochs)
        return next(d for d in range(least, self.epochs + 1) if self.epochs % d == 0)

    @property
    def count(self) -> int:
        """Number of rounds; without a number of epochs, more than any time has."""
        return _ENDLESS if self.epochs is None else self.epochs // self.epochs_per_round

    @property
    def steps_per_round(self) -> int:
        """Training steps of a round."""
        return self.epochs_per_round * self.steps

    def steps_per_execution(self, most: int | None = None) -> int:
        """Largest divisor of the round's steps up to `most` (None: 32), for `compile`."""
        return steps_per_execution(self.steps_per_round, most)


@dataclass(frozen=True)
class Ending:
    """When a training ends before its last round.

    Attributes:
        patience: Rounds without a better validation accuracy after which it ends; the weights of
            the best round are kept. None: no limit.
        seconds: Wall time of all its sessions after which it ends. None: no limit.
        rate: The learning rate by the share of that time that has passed, 0..1, and the steps done.
            The optimizer's own is a number.
    """

    patience: int | None = None
    seconds: float | None = None
    rate: Callable[[float, int], float] | None = None


@dataclass
class Progress:
    """Rounds completed of a training, their wall time, and the logs of each round.

    Attributes:
        rounds: Rounds completed.
        seconds: Their wall time.
        logs: A value per round, by metric.
        best: The number of the round, from 1, whose weights are kept; None: the last.
        stopped: Whether it ended before its last round.
    """

    rounds: int = 0
    seconds: float = 0.0
    logs: dict[str, list[float]] = field(default_factory=dict)
    best: int | None = None
    stopped: bool = False

    def kept(self, metric: str) -> float:
        """Returns the value of a metric after the round whose weights are kept."""
        return self.logs[metric][(self.best or self.rounds) - 1]


class _SaveState(keras.callbacks.Callback):
    """Saves the state after each round, and ends the training where `ending` says so."""

    def __init__(
        self,
        state: TrainingState,
        progress: Progress,
        report: Task,
        ending: Ending,
        rounds: Rounds,
    ) -> None:
        super().__init__()
        self._state, self._progress, self._task = state, progress, report
        self._ending, self._rounds = ending, rounds

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._since = time.monotonic()
        self._report(self._progress.rounds, 0, {})

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        ending = self._ending
        if ending.seconds is None or ending.rate is None:
            return
        optimizer = self._trainer.optimizer
        share = min(self._elapsed() / ending.seconds, 1.0)
        optimizer.learning_rate = ending.rate(share, int(optimizer.iterations))

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch + 1 < self._rounds.steps_per_round:  # the last step, when its round is saved
            self._report(self._progress.rounds, batch + 1, logs or {})
        seconds = self._ending.seconds
        if seconds is not None and self._elapsed() >= seconds:
            self._stop()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        progress = self._progress
        progress.seconds = self._elapsed()
        self._since = time.monotonic()
        progress.rounds = epoch + 1
        for key, value in (logs or {}).items():
            progress.logs.setdefault(key, []).append(float(value))
        if self._ending.patience is not None:
            self._watch(self._ending.patience)
        self._state.save(training_variables(self._trainer), vars(progress))
        self._report(epoch + 1, 0, logs or {})

    def _report(self, rounds: int, steps: int, logs: Mapping[str, float]) -> None:
        """Reports the steps done, or the seconds of a budget, with the metrics of these steps."""
        validated = self._progress.logs.get(_WATCHED, [])
        shares = {"accuracy": logs.get("accuracy"), "validation": validated[-1:] and validated[-1]}
        note = ", ".join(f"{name} {share:.1%}" for name, share in shares.items() if share)
        if self._ending.seconds is not None:
            self._task(int(self._elapsed()), int(self._ending.seconds), note)
        else:
            each = self._rounds.steps_per_round
            self._task(rounds * each + steps, self._rounds.count * each, note)

    def _watch(self, patience: int) -> None:
        """Keeps the weights of the best round; ends the training after `patience` others."""
        progress = self._progress
        if progress.best is None or progress.logs[_WATCHED][-1] > progress.kept(_WATCHED):
            progress.best = progress.rounds
            best = best_state(self._state)
            best.save(training_variables(self._trainer), {})
        elif progress.rounds - progress.best >= patience:
            self._stop()

    def _stop(self) -> None:
        self._progress.stopped = self._trainer.stop_training = True

    def _elapsed(self) -> float:
        return self._progress.seconds + time.monotonic() - self._since

    @property
    def _trainer(self) -> keras.Model:
        assert self.model is not None  # Keras sets it before training begins
        return self.model


def best_state(state: TrainingState) -> TrainingState:
    """Returns the file of the best weights so far, beside that of the state."""
    return TrainingState(state.path.with_suffix(f".best{state.path.suffix}"))


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
    report: Task = silent,
    ending: Ending = Ending(),
    callbacks: Sequence[keras.callbacks.Callback] = (),
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
        report: Receives the number of steps done, after the last one of a round when its state is
            saved, and that of all steps; with a budget of time, seconds.
        ending: When the training ends before its last round.
        callbacks: Further callbacks, such as those of TensorBoard. A round is an epoch to them.

    Returns:
        The logs of all rounds. The trainer, and the state at `path`, have the weights kept.

    Raises:
        InputError: If the state at `path` is damaged or of another model.
    """
    trainer.optimizer.build(trainer.trainable_variables)
    state = TrainingState(path)
    progress = Progress(**(state.restore(training_variables(trainer)) or {}))
    if progress.rounds < rounds.count and not progress.stopped:
        with fused_batch_normalization(trainer):
            trainer.fit(
                data(progress.rounds * rounds.epochs_per_round),
                initial_epoch=progress.rounds,
                epochs=rounds.count,
                steps_per_epoch=rounds.steps_per_round,
                validation_data=validation_data,
                callbacks=[*callbacks, _SaveState(state, progress, report, ending, rounds)],
                shuffle=False,
                verbose=0,  # pyright: ignore[reportArgumentType]
            )
    best = best_state(state)
    if best.path.exists():
        best.restore(training_variables(trainer))
        state.save(training_variables(trainer), vars(progress))
        best.path.unlink()
    return progress
