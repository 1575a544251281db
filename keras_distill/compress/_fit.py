"""Trains a wrapped tf_keras twin, also with Keras 3 callbacks, and resumes after interruptions."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from keras_distill import data as sources
from keras_distill._internal import InputError, bad, check_count, did_you_mean
from keras_distill._internal._checks import MAX_INT
from keras_distill.compress._objective import Objective
from keras_distill.records import TrainingSettings
from keras_distill.training import make_optimizer
from keras_distill.work import STEPS_PER_EXECUTION, TrainingState


@dataclass(frozen=True)
class Training:
    """The settings of a compression step: `TrainingSettings`, and what only this training needs.

    Attributes:
        settings: Epochs, batch size (for arrays; a data set is already batched), optimizer,
            learning rate, schedule, weight decay.
        teacher: A live teacher: a Keras model, a file, a function, or a list. None if the data
            contains `Targets` or alpha is 0.
        from_probabilities: Whether the teacher or the `Targets` contain probabilities, see
            `Distiller`.
        alpha: Weight of the soft terms, 0..1, a number or a schedule.
        temperature: Temperature of the default soft loss.
        distillation_losses: Losses on logits, see `Distiller`. If None, chosen by the task.
        distillation_loss_weights: Their weights, see `Distiller`.
        loss: The hard loss. If None, chosen by the labels.
        steps_per_epoch: Required if the data set has no known length.
        callbacks: Keras 3 or tf_keras callbacks.
        validation_data: Batches of (x, y), or a pair of arrays.
        state: A file that is written after each epoch. If it exists, training resumes from it.
        verbose: See Keras.
        seed: Seed for the order of arrays.
    """

    settings: TrainingSettings
    teacher: Any = None
    from_probabilities: Any = None
    alpha: Any = 0.9
    temperature: Any = 4.0
    distillation_losses: Any = None
    distillation_loss_weights: Any = None
    loss: Any = None
    steps_per_epoch: int | None = None
    callbacks: Sequence[Any] = ()
    validation_data: Any = None
    state: str | os.PathLike | None = None
    verbose: Any = 0
    seed: int = 0

    @classmethod
    def of(cls, **options: Any) -> "Training":
        """Creates a training from keyword arguments of this class and of `TrainingSettings`.

        Raises:
            InputError: If a setting is not valid.

        Example:
            >>> Training.of(epochs=2, alpha=0.5).settings.epochs
            2
        """
        names = [*TrainingSettings.model_fields, *(f.name for f in fields(cls)[1:])]
        for name in options:
            if name not in names:
                remedy = did_you_mean(name, names) or f" Known: {', '.join(names)}."
                raise InputError(f"`{name}` is not a setting of the training.{remedy}")
        own = {name: options.pop(name) for name in TrainingSettings.model_fields if name in options}
        settings = TrainingSettings.parse({"epochs": 10, **own}, source="compress")
        return cls(settings, **options)

    def objective(self, student: keras.Model) -> Objective:
        """Creates the loss for these settings."""
        return Objective(
            student,
            teacher=self.teacher,
            from_probabilities=self.from_probabilities,
            alpha=self.alpha,
            temperature=self.temperature,
            distillation_losses=self.distillation_losses,
            distillation_loss_weights=self.distillation_loss_weights,
            loss=self.loss,
        )

    def batches(self, name: str, data: Any) -> tf.data.Dataset:
        """Returns `data` as batches, once and in its own order, for evaluation and calibration.

        Args:
            name: The argument's name, for errors.
            data: A batched `tf.data.Dataset`; a pair (x, y) of arrays; or a function that takes the
                number of the first epoch and returns batches, such as
                `lambda epoch: store.batches(train, 128, first_epoch=epoch)`.

        Raises:
            InputError: If `data` is none of these.
        """
        if callable(data):
            return data(0)
        if isinstance(data, tf.data.Dataset):
            return data
        return sources.batches(_rows(name, data), self.settings.batch_size)

    def stream(self, data: Any, first_epoch: int) -> tf.data.Dataset:
        """Returns `data` as batches for training; seed and epoch determine the order of arrays."""
        if callable(data):
            return data(first_epoch)
        if isinstance(data, tf.data.Dataset):
            return data
        return sources.batches(
            _rows("data", data),
            self.settings.batch_size,
            shuffle_seed=self.seed,
            epoch=first_epoch,
            epochs=None,
        )

    def steps(self, data: Any) -> int:
        """Returns the number of training steps per epoch.

        Raises:
            InputError: If neither the data nor `steps_per_epoch` gives the number.
        """
        if self.steps_per_epoch is not None:
            return check_count("steps_per_epoch", self.steps_per_epoch, at_most=MAX_INT)
        steps = int(self.batches("data", data).cardinality())
        if steps < 1:
            raise bad(
                "steps_per_epoch",
                "be given where the length of the data is not known",
                None,
                "Or use tf.data.experimental.assert_cardinality.",
            )
        return steps


def _rows(name: str, data: Any) -> tf.data.Dataset:
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise bad(name, "be a batched tf.data.Dataset or a tuple (x, y) of arrays", type(data))
    return tf.data.Dataset.from_tensor_slices(data)


class Trainer(tf_keras.Model):
    """A twin that trains with the loss of `Objective`."""

    def __init__(
        self, network: Any, objective: Objective, inputs: list[str], masked: Sequence[Any] = ()
    ) -> None:
        super().__init__(name="trainer")
        self.network = network
        self._masks = tuple((v, tf.cast(tf.not_equal(v, 0), v.dtype)) for v in masked)
        self._objective = objective
        self._inputs = tuple(inputs)
        names = ["loss", "hard_loss", "soft_loss"]
        names += [f"{name}_accuracy" if name else "accuracy" for name in objective.names]
        self._trackers = {name: tf_keras.metrics.Mean(name=name) for name in names}

    @property
    def metrics(self) -> list[Any]:
        """Means of the loss, its terms, and the accuracy."""
        return list(self._trackers.values())

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Returns the flat logits."""
        return self.network(flat_inputs(x, self._inputs), training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Runs one step of `fit`."""
        x, y, sample_weight = tf_keras.utils.unpack_x_y_sample_weight(data)
        step = tf.convert_to_tensor(self.optimizer.iterations)
        with tf.GradientTape() as tape:
            parts = self._objective(x, y, sample_weight, self(x, training=True), step)
            extras = self.network.losses
            total = tf.add_n([parts.total, *extras]) if extras else parts.total
        variables = self.network.trainable_variables
        pairs = zip(tape.gradient(total, variables), variables, strict=True)
        self.optimizer.apply_gradients([(g, v) for g, v in pairs if g is not None])
        for variable, mask in self._masks:
            variable.assign(variable * mask)
        return self._log(total, parts, x)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Runs one step of `evaluate`."""
        x, y, sample_weight = tf_keras.utils.unpack_x_y_sample_weight(data)
        parts = self._objective(x, y, sample_weight, self(x, training=False), None)
        total = parts.hard if parts.total is None else parts.total
        return self._log(total, parts, x)

    def _log(self, total: Any, parts: Any, x: Any) -> dict[str, Any]:
        size = tf.shape(tf.nest.flatten(x)[0])[0]
        values = {"loss": total, "hard_loss": parts.hard, "soft_loss": parts.soft}
        used = {name: value for name, value in values.items() if value is not None}
        for name, value in used.items():
            self._trackers[name].update_state(value, sample_weight=size)
        for name, (correct, present) in parts.correct.items():
            key = f"{name}_accuracy" if name else "accuracy"
            used[key] = correct
            self._trackers[key].update_state(correct, sample_weight=present)
        return {name: self._trackers[name].result() for name in used}


def flat_inputs(x: Any, names: Sequence[str]) -> Any:
    """Returns a batch in the flat order of the model's inputs."""
    if isinstance(x, Mapping) and set(x) == set(names):
        x = [x[name] for name in names]
    flat = tf.nest.flatten(x)
    return flat[0] if len(flat) == 1 else flat


def input_names(student: keras.Model) -> list[str]:
    """Returns the input names in flat order: the keys of a dict, or the names of input layers."""
    if not isinstance(student, keras.Sequential) and isinstance(student.input, Mapping):
        return sorted(student.input)
    return [tensor.name for tensor in student.inputs]


class _Forward(tf_keras.callbacks.Callback):
    """Forwards every event of tf_keras's `fit` to Keras 3 callbacks."""

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        super().__init__()
        self._callbacks = list(callbacks)

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        for callback in self._callbacks:
            callback.set_model(model)

    def set_params(self, params: dict) -> None:
        super().set_params(params)
        for callback in self._callbacks:
            callback.set_params(params)


def _forwarding(event: str) -> Any:
    def forward(self: _Forward, *args: Any, **kwargs: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, event)(*args, **kwargs)

    return forward


for _phase in ("train", "test", "epoch", "train_batch", "test_batch"):
    for _edge in ("begin", "end"):
        setattr(_Forward, f"on_{_phase}_{_edge}", _forwarding(f"on_{_phase}_{_edge}"))


def _adapted(callbacks: Sequence[Any]) -> list[Any]:
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback | tf_keras.callbacks.Callback):
            raise bad("callbacks", "be Keras or tf_keras callbacks", callback)
    own = [c for c in callbacks if isinstance(c, tf_keras.callbacks.Callback)]
    foreign = [c for c in callbacks if not isinstance(c, tf_keras.callbacks.Callback)]
    return own + ([_Forward(foreign)] if foreign else [])


class _SaveState(tf_keras.callbacks.Callback):
    """Collects the logs of each epoch, and saves the state after it."""

    def __init__(
        self,
        state: TrainingState | None,
        trainer: Trainer,
        logs: dict[str, list[float]],
        seconds: float,
    ) -> None:
        super().__init__()
        self._state, self._trainer, self._logs = state, trainer, logs
        self._since = time.monotonic() - seconds

    @property
    def seconds(self) -> float:
        """Wall time of the training, including earlier sessions."""
        return time.monotonic() - self._since

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for key, value in (logs or {}).items():
            self._logs.setdefault(key, []).append(float(value))
        if self._state is not None:
            about = {"epochs": epoch + 1, "logs": self._logs, "seconds": self.seconds}
            self._state.save(_training_variables(self._trainer), about)


def _training_variables(trainer: Trainer) -> list[Any]:
    """Returns all variables that training changes: weights, masks, ranges, optimizer variables."""
    return [*trainer.network.weights, *trainer.optimizer.variables]


def _steps_per_execution(training: Training, steps: int) -> int:
    """Returns the setting; by default 32, or 1 with callbacks, which may need every batch."""
    default = 1 if training.callbacks else STEPS_PER_EXECUTION
    return min(steps, training.settings.steps_per_execution or default)


def fit(
    network: Any,
    objective: Objective,
    student: keras.Model,
    data: Any,
    training: Training,
    callbacks: Sequence[Any] = (),
    masked: Sequence[Any] = (),
) -> dict[str, Any]:
    """Trains a wrapped twin in place.

    Args:
        network: The wrapped twin, flat.
        objective: The loss.
        student: The Keras 3 model from which the twin was built, for the names of its inputs.
        data: See `Training.stream`.
        training: The settings.
        callbacks: tf_keras callbacks of the compression method; they run before the user's.
        masked: Variables whose zeros are kept.

    Returns:
        The logs of each epoch by name, and "seconds".

    Raises:
        InputError: If the data does not match the settings.
    """
    steps = training.steps(data)
    trainer = Trainer(network, objective, input_names(student), masked)
    x, y, _ = tf_keras.utils.unpack_x_y_sample_weight(
        next(iter(training.batches("data", data).take(1)))
    )
    objective.prepare(x, y, trainer(x, training=False))
    trainer.compile(
        optimizer=make_optimizer(
            training.settings, steps * training.settings.epochs, optimizers=tf_keras.optimizers
        ),
        steps_per_execution=_steps_per_execution(training, steps),
    )
    trainer.optimizer.build(network.trainable_variables)
    state = None if training.state is None else TrainingState(training.state)
    about = None if state is None else state.restore(_training_variables(trainer))
    about = about or {"epochs": 0, "logs": {}, "seconds": 0.0}
    done, logs = about["epochs"], about["logs"]
    validation = training.validation_data
    if validation is not None:
        validation = training.batches("validation_data", validation)
    ds = training.stream(data, done)
    saving = _SaveState(state, trainer, logs, about["seconds"])
    trainer.fit(
        ds,
        initial_epoch=done,
        epochs=training.settings.epochs,
        steps_per_epoch=None if 0 < int(ds.cardinality()) <= steps else steps,
        validation_data=validation,
        callbacks=[
            *callbacks,
            *_adapted(training.callbacks),
            saving,
        ],
        verbose=training.verbose,
    )
    return {**logs, "seconds": saving.seconds}
