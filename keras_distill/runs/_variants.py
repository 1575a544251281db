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

_PEER = 500_009  # added to the seed of a student: the seed of its peer
Batches = Callable[[int, int], tf.data.Dataset]
"""`batches(seed, first_epoch)` yields batches without end."""


@dataclass(frozen=True)
class Lesson:
    """What a model is trained on.

    Attributes:
        name: Name of the variant in the record.
        title: Its name for people.
        labels: Labels it sees.
        batches: Its training data.
        targets: Where the teacher's logits come from; None: it is trained on labels alone.
        label_smoothing: Label smoothing of the loss on labels; None: that of the settings.
        with_peer: Whether a peer of the same spec and other initial weights learns with it.
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
    """A model to train, and how; the variants of the student share one.

    Attributes:
        build: `build(seed)` makes it with the initial weights of that seed.
        spec: Its spec, for people.
        settings: How it is trained.
        initial: The first values of the model's variables, those of its random generators
            included, by seed, a training each.
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
        """Makes a model for each seed, and keeps its values."""
        return cls(build, spec, settings, {seed: values_of(build(seed)) for seed in seeds})

    def model(self) -> keras.Model:
        """Makes the model that is trained; its weights are set for each seed."""
        seed = next(iter(self.initial))
        model = self.build(seed)
        with models.seeded(seed):
            return models.trained_as(model, self.settings.precision)

    def variant(self, context: RunContext, lesson: Lesson, rounds: Rounds) -> "Variant":
        """Builds and compiles the trainer of a lesson.

        Args:
            context: The run.
            lesson: What it is trained on.
            rounds: How long.
        """
        return compiled(context, lesson, self, rounds)

    def states(self, context: RunContext, lesson: Lesson) -> dict[int, Path]:
        """Returns where the state of each seed's training is stored."""
        folder = context.folder.scratch
        return {seed: folder / f"{lesson.name}-{seed}.npz" for seed in self.initial}


@dataclass
class Variant:
    """One way to train a model, over all seeds.

    The trainer is compiled and traced once; each seed resets it.

    Attributes:
        lesson: What it is trained on.
        trainer: The compiled trainer: the model itself, or a `Distiller` around it.
        student: The model inside.
        rounds: How long it is trained.
        states: Where the state of each seed's training is stored.
        done: What each seed's training logged.
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
        """Sets the variables of the student, and everything else to what it was at first.

        Args:
            values: The student's.
            peer: The peer's, if there is one.
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
        """Returns the student with the weights that the training of a seed gave it, in float32."""
        TrainingState(self.states[seed]).restore(training_variables(self.trainer))
        return in_float32(self.student)

    @property
    def steps(self) -> int:
        """Training steps, the most of any seed."""
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
        lesson: What it is trained on.
        pupil: What is trained.
        rounds: How long.
        losses: Arguments of the `Distiller`; None: those of the recipe.
    """
    settings = pupil.settings
    student = pupil.model()
    trainer: Any = student
    steps = None if rounds.epochs is None else rounds.epochs * rounds.steps
    if losses is None:
        losses = distillation_losses(context.recipe.distillation, steps)
    with models.seeded(0):  # of projectors, in a resumed run too
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
    """Returns the values of a model's variables, those of its random generators included."""
    return [variable.numpy() for variable in model.variables]


def _assign(model: keras.Model, values: list[np.ndarray]) -> None:
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)


def in_float32(model: keras.Model) -> keras.Model:
    """Returns a model as it is exported and saved; a copy of one that computes in 16 bits."""
    if model.dtype_policy.name == "float32":
        return model
    return models.with_precision(model, "float32")
