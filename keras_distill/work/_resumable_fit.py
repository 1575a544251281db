"""Trains with Keras's `fit`, and resumes after an interruption with the same result."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import keras

from keras_distill._internal._fused_normalization import fused_batch_normalization
from keras_distill._internal._progress import Task, silent
from keras_distill._internal._types import Dataset
from keras_distill.work._state import TrainingState

# Keras spends about 40 ms per epoch outside the steps, so a round has at least this many steps.
_STEPS_PER_ROUND = 100
STEPS_PER_EXECUTION = 32
_WATCHED = "val_accuracy"
_ENDLESS = 10**9


def steps_per_execution(steps: int, most: int | None = None) -> int:
    """Returns the largest divisor of `steps` up to `most`, as `steps_per_execution` of `compile`.

    Keras 3 always executes the last group of an epoch in full: 19 steps in groups of 16 become 32
    steps. A divisor avoids this.

    Args:
        steps: The number of steps per epoch of `fit`.
        most: The upper limit. If None, 32.

    Example:
        >>> steps_per_execution(40), steps_per_execution(19, 16)
        (20, 1)
    """
    return max(d for d in range(1, (most or STEPS_PER_EXECUTION) + 1) if steps % d == 0)


@dataclass(frozen=True)
class Rounds:
    """Divides the epochs of a training into rounds, each of which is one epoch of Keras's `fit`.

    Validation runs, and the state is saved, at the end of each round. A round is one epoch. If
    epochs are short, it is as many epochs as give at least 100 steps and divide the training
    evenly.

    Attributes:
        epochs: The number of epochs. None if the time of an `Ending` limits the training instead.
        steps: The number of steps per epoch.

    Example:
        >>> rounds = Rounds(epochs=60, steps=11)
        >>> rounds.epochs_per_round, rounds.count
        (10, 6)
    """

    epochs: int | None
    steps: int

    @property
    def epochs_per_round(self) -> int:
        """The number of epochs per round: the smallest divisor of `epochs` with enough steps."""
        wanted = -(-_STEPS_PER_ROUND // self.steps)
        if self.epochs is None:
            return wanted
        least = min(wanted, self.epochs)
        return next(d for d in range(least, self.epochs + 1) if self.epochs % d == 0)

    @property
    def count(self) -> int:
        """The number of rounds; 10^9, which no training reaches, if `epochs` is None."""
        return _ENDLESS if self.epochs is None else self.epochs // self.epochs_per_round

    @property
    def steps_per_round(self) -> int:
        """The number of training steps per round."""
        return self.epochs_per_round * self.steps

    def steps_per_execution(self, most: int | None = None) -> int:
        """Returns `steps_per_execution` for `compile`, at most `most` (32 if None)."""
        return steps_per_execution(self.steps_per_round, most)


@dataclass(frozen=True)
class Ending:
    """The conditions under which a training ends before its last round.

    Attributes:
        patience: The number of rounds without a better validation accuracy after which training
            ends. The weights of the best round are kept. If None, there is no limit.
        seconds: The wall time of all sessions after which training ends. If None, there is no
            limit.
        rate: A function that computes the learning rate from the share of `seconds` that has
            passed (0..1) and the number of steps done. It is used only with `seconds`, and the
            learning rate of the optimizer must be a number, not a schedule. If None, the learning
            rate is not changed.
    """

    patience: int | None = None
    seconds: float | None = None
    rate: Callable[[float, int], float] | None = None


@dataclass
class Progress:
    """The progress of a training.

    Attributes:
        rounds: The number of completed rounds.
        seconds: The wall time of the completed rounds.
        logs: The values of each metric, one per round, by the name of the metric.
        best: The number of the round, from 1, whose weights are kept; None for the last round.
        stopped: Whether an `Ending` has ended the training.
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
    """Saves the state after each round, and ends the training according to `ending`."""

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
        # The last step of a round is reported once the state is saved.
        if batch + 1 < self._rounds.steps_per_round:
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
        """Reports the number of steps done, or the seconds of a time limit, and the accuracies."""
        validated = self._progress.logs.get(_WATCHED, [])
        shares = {"accuracy": logs.get("accuracy"), "validation": validated[-1:] and validated[-1]}
        note = ", ".join(f"{name} {share:.1%}" for name, share in shares.items() if share)
        if self._ending.seconds is not None:
            self._task(int(self._elapsed()), int(self._ending.seconds), note)
        else:
            each = self._rounds.steps_per_round
            self._task(rounds * each + steps, self._rounds.count * each, note)

    def _watch(self, patience: int) -> None:
        """Saves the weights of a new best round; stops `patience` rounds after the best round."""
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
    """Returns the state of the best round, in a file beside that of `state`."""
    return TrainingState(state.path.with_suffix(f".best{state.path.suffix}"))


def training_variables(trainer: keras.Model) -> list[keras.Variable]:
    """Lists the variables that determine further training: of the model and of its optimizer.

    Seed generators are included, and metrics are not.

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

    The state contains all variables of the trainer and its optimizer, including seed generators.
    An interrupted and an uninterrupted training therefore give the same result.

    Args:
        trainer: A compiled and built model: a student, a teacher, or a `Distiller`.
        data: A function that is called with the number of the first epoch to train, from 0. It
            returns the batches of that epoch and all later ones, in an order that depends only on
            the seed and the epoch.
        rounds: The number of epochs and of steps per epoch.
        path: The file of the state (`.npz`).
        validation_data: Batches for validation after each round.
        report: Receives the number of steps done and the total number of steps. The last step of a
            round is reported when its state has been saved. With a time limit, it receives seconds
            instead of steps.
        ending: The conditions under which the training ends before its last round.
        callbacks: Further callbacks, such as TensorBoard. Each round is one epoch for them.

    Returns:
        The progress, with the logs of all rounds. The trainer and the state at `path` then have the
        weights of `Progress.best`.

    Raises:
        InputError: If the state at `path` is damaged or belongs to another model.
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
