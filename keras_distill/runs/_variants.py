"""Trains a variant of the student over all seeds, and resumes interrupted trainings."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill import models
from keras_distill._internal._quantity import number_of
from keras_distill.records import ClassifierSettings
from keras_distill.runs._context import RunContext
from keras_distill.runs._losses import distillation_losses
from keras_distill.runs._targets import SoftTargets
from keras_distill.training import (
    Distiller,
    MutualDistiller,
    compile_classifier,
    ending_of,
    rounds_of,
)
from keras_distill.work import Progress, Rounds, TrainingState, fit_resumable, training_variables

_PEER = 500_009  # the seed of a peer is that of the student plus this number
Batches = Callable[[int, int], tf.data.Dataset]
"""`batches(seed, first_epoch)` yields batches without end."""


@dataclass(frozen=True)
class Lesson:
    """The data and targets on which a model is trained.

    Attributes:
        name: Name of the variant in the record.
        title: Display name.
        labels: Number of labels that the model sees.
        batches: The training data.
        targets: The source of the teacher's logits; None to train without a teacher.
        label_smoothing: Label smoothing of the loss on labels; None uses that of the settings.
        with_peer: Whether a peer with the same spec and other initial weights is trained together
            with the model (mutual learning).
    """

    name: str
    title: str
    labels: int
    batches: Batches
    targets: SoftTargets | None = None
    label_smoothing: float | None = None
    with_peer: bool = False


@dataclass(frozen=True)
class Pupil:
    """A model to train, and its training settings; the variants of the student share one.

    Attributes:
        build: A function `build(seed)` that builds the model with the initial weights of a seed.
        spec: The spec of the model, for messages.
        settings: The training settings.
        initial: The initial values of the model's variables by seed, including the states of its
            random generators. The model is trained once per seed.
    """

    build: Callable[[int], keras.Model]
    spec: str
    settings: ClassifierSettings
    initial: Mapping[int, list[np.ndarray]]

    @classmethod
    def of(
        cls,
        build: Callable[[int], keras.Model],
        spec: str,
        settings: ClassifierSettings,
        seeds: Sequence[int],
    ) -> "Pupil":
        """Builds the model for each seed, and keeps its initial values."""
        return cls(build, spec, settings, {seed: values_of(build(seed)) for seed in seeds})

    def model(self) -> keras.Model:
        """Builds the model to train, in the precision of the settings.

        Its weights are set before each training.
        """
        seed = next(iter(self.initial))
        model = self.build(seed)
        with models.seeded(seed):
            return models.trained_as(model, self.settings.precision)

    def variant(self, context: RunContext, lesson: Lesson, rounds: Rounds) -> "Variant":
        """Builds and compiles the trainer of a lesson.

        Args:
            context: The run.
            lesson: The data and targets.
            rounds: The length of the training.
        """
        return compiled(context, lesson, self, rounds)

    def states(self, context: RunContext, lesson: Lesson) -> dict[int, Path]:
        """Returns the file for the training state of each seed."""
        folder = context.folder.scratch
        return {seed: folder / f"{lesson.name}-{seed}.npz" for seed in self.initial}


@dataclass
class Variant:
    """A variant of the training of a model, over all seeds.

    The trainer is compiled and traced once; it is reset for each seed.

    Attributes:
        lesson: The data and targets.
        trainer: The compiled trainer: the model itself, or a `Distiller` around it.
        student: The trained model.
        rounds: The length of the training.
        states: The file for the training state of each seed.
        done: The progress of each completed training, by seed.
    """

    lesson: Lesson
    trainer: keras.Model
    student: keras.Model
    rounds: Rounds
    states: dict[int, Path]
    done: dict[int, Progress] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trainer.optimizer.build(self.trainer.trainable_variables)
        self._fresh = [v.numpy() for v in training_variables(self.trainer)]

    def reset(self, values: list[np.ndarray], peer: list[np.ndarray] | None = None) -> None:
        """Sets the variables of the student, and resets all others to their first values.

        Args:
            values: The values of the student's variables.
            peer: The values of the peer's variables, if there is a peer.
        """
        for variable, value in zip(training_variables(self.trainer), self._fresh, strict=True):
            variable.assign(value)
        _assign(self.student, values)
        if isinstance(self.trainer, MutualDistiller) and peer is not None:
            _assign(self.trainer.peer, peer)

    def again(self, lesson: Lesson, states: dict[int, Path]) -> "Variant":
        """Returns this variant with the same compiled trainer, for other trainings."""
        other = copy.copy(self)
        other.lesson, other.states, other.done = lesson, states, {}
        return other

    def restore(self, seed: int) -> keras.Model:
        """Returns the student with its trained weights for a seed, in float32."""
        TrainingState(self.states[seed]).restore(training_variables(self.trainer))
        return in_float32(self.student)

    @property
    def steps(self) -> int:
        """The number of training steps, the maximum over the seeds."""
        return max(progress.rounds for progress in self.done.values()) * self.rounds.steps_per_round

    @property
    def chosen_seed(self) -> int:
        """The seed with the best validation accuracy."""
        return max(self.done, key=lambda seed: self.done[seed].kept("val_accuracy"))


def train(context: RunContext, lesson: Lesson, pupil: Pupil) -> Variant:
    """Trains a model on a lesson, once per seed, or resumes these trainings."""
    seeds = number_of(len(pupil.initial), "seed")
    context.reporter.stage("student", f"{pupil.spec} {lesson.title}; {seeds}")
    rounds = rounds_of(pupil.settings, context.student_data.examples)
    variant = pupil.variant(context, lesson, rounds)
    ending = ending_of(pupil.settings, rounds)
    for seed, values in pupil.initial.items():
        peer = values_of(pupil.build(seed + _PEER)) if lesson.with_peer else None
        variant.reset(values, peer)
        with context.trackers.training(context.recipe, lesson.name, seed) as callbacks:
            variant.done[seed] = fit_resumable(
                variant.trainer,
                lambda first_epoch, s=seed: lesson.batches(s, first_epoch),
                rounds,
                variant.states[seed],
                validation_data=context.student_validation,
                report=context.reporter.track(f"seed {seed}"),
                ending=ending,
                callbacks=callbacks,
            )
    return variant


def compiled(
    context: RunContext,
    lesson: Lesson,
    pupil: Pupil,
    rounds: Rounds,
    losses: Mapping[str, Any] | None = None,
) -> Variant:
    """Builds and compiles the trainer of a lesson.

    Args:
        context: The run.
        lesson: The data and targets.
        pupil: The model to train.
        rounds: The length of the training.
        losses: Arguments of the `Distiller`; None uses those of the recipe.
    """
    settings = pupil.settings
    student = pupil.model()
    trainer: Any = student
    steps = None if rounds.epochs is None else rounds.epochs * rounds.steps
    if losses is None:
        losses = distillation_losses(context.recipe.distillation, steps)
    with models.seeded(0):  # projectors must start equal in a resumed run
        if lesson.with_peer:
            trainer = MutualDistiller(student, pupil.model(), **losses)
        elif lesson.targets is not None:
            trainer = Distiller(lesson.targets.teacher, student, **losses)
    smoothing = lesson.label_smoothing
    compile_classifier(
        trainer,
        settings,
        rounds,
        label_smoothing=settings.label_smoothing if smoothing is None else smoothing,
        rows=context.student_data.mixes,
    )
    return Variant(lesson, trainer, student, rounds, pupil.states(context, lesson))


def values_of(model: keras.Model) -> list[np.ndarray]:
    """Returns the values of a model's variables, including the states of random generators."""
    return [variable.numpy() for variable in model.variables]


def _assign(model: keras.Model, values: list[np.ndarray]) -> None:
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)


def in_float32(model: keras.Model) -> keras.Model:
    """Returns the model itself, or a copy in float32 if it computes in 16 bits."""
    if model.dtype_policy.name == "float32":
        return model
    return models.with_precision(model, "float32")
