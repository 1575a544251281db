"""Third stage of a run: the student trained alone and distilled, over the same seeds."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_distill import data, models
from keras_distill.runs._context import RunContext
from keras_distill.targets import SoftTargetStore
from keras_distill.training import Distiller, compile_classifier
from keras_distill.work import Progress, Rounds, TrainingState, fit_resumable, training_variables

Batches = Callable[[int, int], tf.data.Dataset]
"""`batches(seed, first_epoch)` yields batches without end."""


@dataclass
class Variant:
    """One way to train the student, over all seeds.

    The trainer is compiled and traced once; each seed resets it.

    Attributes:
        name: Its name in the record.
        title: Its name for people.
        labels: Labels it sees.
        trainer: The compiled trainer: the student itself, or a `Distiller` around it.
        student: The student inside.
        batches: Its training data.
        states: Where the state of each seed's training is stored.
        done: What each seed's training logged.
    """

    name: str
    title: str
    labels: int
    trainer: keras.Model
    student: keras.Model
    batches: Batches
    states: dict[int, Path]
    done: dict[int, Progress] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trainer.optimizer.build(self.trainer.trainable_variables)
        self._fresh = [v.numpy() for v in training_variables(self.trainer)]

    def reset(self, weights: list[np.ndarray]) -> None:
        """Sets the student to initial weights, and everything else to what it was at first."""
        for variable, value in zip(training_variables(self.trainer), self._fresh, strict=True):
            variable.assign(value)
        self.student.set_weights(weights)

    def restore(self, seed: int) -> keras.Model:
        """Returns the student with the weights that the training of a seed gave it."""
        TrainingState(self.states[seed]).restore(training_variables(self.trainer))
        return self.student


@dataclass(frozen=True)
class Students:
    """The trained students.

    Attributes:
        variants: Alone on the labels kept, alone on all labels where these differ, distilled.
        rounds: How each was trained.
        chosen_seed: The seed of the distilled student with the best validation accuracy.
        chosen: That student, also saved as `student.keras` in the run's folder.
    """

    variants: list[Variant]
    rounds: Rounds
    chosen_seed: int
    chosen: keras.Model


def train_students(context: RunContext, store: SoftTargetStore) -> Students:
    """Trains every variant from the same initial weights for the same number of steps."""
    spec, seeds = context.recipe.student.model, context.recipe.seeds
    settings = context.recipe.training
    steps = math.ceil(context.splits.sizes["train"] / settings.batch_size)
    rounds = Rounds(settings.epochs, steps)
    initial = {seed: context.build(spec, seed=seed).get_weights() for seed in seeds}
    variants = _variants(context, store, rounds)
    for variant in variants:
        context.reporter.stage("student", f"{spec} {variant.title}; {len(seeds)} seeds")
        for seed in seeds:
            variant.reset(initial[seed])
            variant.done[seed] = fit_resumable(
                variant.trainer,
                lambda first_epoch, v=variant, s=seed: v.batches(s, first_epoch),
                rounds,
                variant.states[seed],
                validation_data=context.validation,
                report=context.reporter.track(f"seed {seed}", rounds.count),
            )
    distilled = variants[-1]
    chosen = max(seeds, key=lambda seed: distilled.done[seed].logs["val_accuracy"][-1])
    student = models.save_uncompiled(
        distilled.restore(chosen), context.folder.path / "student.keras"
    )
    return Students(variants, rounds, chosen, student)


def _variants(context: RunContext, store: SoftTargetStore, rounds: Rounds) -> list[Variant]:
    train, examples = context.splits.train, context.splits.sizes["train"]
    size, kept = context.recipe.training.batch_size, context.labels_kept

    def all_labels(seed: int, first_epoch: int) -> tf.data.Dataset:
        return data.batches(train, size, shuffle_seed=seed, epoch=first_epoch, epochs=None)

    def few_labels(seed: int, first_epoch: int) -> tf.data.Dataset:
        labeled = context.few_labels(seed).filter(lambda x, y: y != data.UNLABELED)
        labeled = labeled.apply(tf.data.experimental.assert_cardinality(kept)).cache()
        return _repeated(labeled, size, seed, first_epoch * rounds.steps)

    def soft_targets(seed: int, first_epoch: int) -> tf.data.Dataset:
        few = context.few_labels(seed)
        return store.batches(few, size, seed=seed, first_epoch=first_epoch).repeat()

    few = kept < examples
    seen = f"{kept} labels" if few else "all labels"
    alone = few_labels if few else all_labels
    made = [("alone", f"alone, {seen}", kept, alone, False)]
    if few:
        title = f"alone, all {examples} labels"
        made.append(("alone_all_labels", title, examples, all_labels, False))
    made.append(("distilled", f"distilled, {seen}", kept, soft_targets, True))
    return [
        _variant(context, rounds, name, title, labels, batches, distilled)
        for name, title, labels, batches, distilled in made
    ]


def _variant(
    context: RunContext,
    rounds: Rounds,
    name: str,
    title: str,
    labels: int,
    batches: Batches,
    distilled: bool,
) -> Variant:
    recipe = context.recipe
    student = context.build(recipe.student.model, seed=recipe.seeds[0])
    trainer = student
    if distilled:
        alpha, temperature = recipe.distillation.alpha, recipe.distillation.temperature
        trainer = Distiller(None, student, alpha=alpha, temperature=temperature)
    compile_classifier(trainer, recipe.training, rounds)
    states = {seed: context.folder.scratch / f"{name}-{seed}.npz" for seed in recipe.seeds}
    return Variant(name, title, labels, trainer, student, batches, states)


def _repeated(dataset: tf.data.Dataset, size: int, seed: int, first_step: int) -> tf.data.Dataset:
    """Yields full batches of endless passes over a small data set, from `first_step` on.

    Each pass has a new order, and a batch may span two passes.
    """
    count = int(dataset.cardinality())
    passes, within = divmod(first_step * size, count)
    whole = data.batches(dataset, count, shuffle_seed=seed, epoch=passes, epochs=None)
    return data.read_ahead(whole.unbatch().skip(within).batch(size, drop_remainder=True))
