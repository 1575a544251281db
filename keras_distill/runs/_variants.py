"""The ways a run trains its student: alone on the labels kept, alone on all, distilled."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_distill import data
from keras_distill.data import read_ahead
from keras_distill.records import TrainingSettings
from keras_distill.records._run import Curve
from keras_distill.runs._context import Inputs
from keras_distill.targets import SoftTargetStore
from keras_distill.teachers import find_heads
from keras_distill.training import Distiller, make_optimizer
from keras_distill.work import Progress, Rounds, TrainingState, fit_resumable, training_variables


def compile_for(trainer: keras.Model, training: TrainingSettings, rounds: Rounds) -> None:
    """Compiles a student, teacher or Distiller for class ids; a user's net may end in softmax."""
    net = trainer.student if isinstance(trainer, Distiller) else trainer
    softmax = find_heads(net).kind == "softmax"
    trainer.compile(
        optimizer=make_optimizer(training, rounds.epochs * rounds.steps),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax),
        metrics=["accuracy"],
        steps_per_execution=rounds.steps_per_execution,
    )


def curve_of(progress: Progress, rounds: Rounds) -> Curve:
    """The logs of a training as a record."""
    return Curve(
        epochs=tuple(rounds.epochs_per_round * (i + 1) for i in range(progress.rounds)),
        loss=tuple(progress.logs["loss"]),
        validation_accuracy=tuple(progress.logs["val_accuracy"]),
    )


@dataclass
class Variant:
    """One way to train the student, over any number of seeds.

    The trainer is compiled and traced once; each seed starts it anew from that seed's weights.

    Attributes:
        name: Its name in the record.
        title: Its name for people.
        labels: Labels it sees.
        trainer: The compiled trainer: the student itself, or a `Distiller` around it.
        student: The student inside.
        batches: `batches(seed, first_epoch)` yields batches without end.
        initial: `initial(seed)` gives the student's initial weights.
    """

    name: str
    title: str
    labels: int
    trainer: keras.Model
    student: keras.Model
    batches: Callable[[int, int], tf.data.Dataset]
    initial: Callable[[int], list[np.ndarray]]

    def __post_init__(self) -> None:
        self.trainer.optimizer.build(self.trainer.trainable_variables)
        self._fresh = [v.numpy() for v in training_variables(self.trainer)]

    def state_path(self, folder: Path, seed: int) -> Path:
        """Where the state of one seed's training is kept."""
        return folder / f"{self.name}-{seed}.npz"

    def train(
        self,
        seed: int,
        rounds: Rounds,
        folder: Path,
        *,
        validation_data: tf.data.Dataset,
        report: Callable[[int], None],
    ) -> Progress:
        """Trains from the seed's initial weights, or goes on where it was interrupted."""
        for variable, value in zip(training_variables(self.trainer), self._fresh, strict=True):
            variable.assign(value)
        self.student.set_weights(self.initial(seed))
        return fit_resumable(
            self.trainer,
            lambda first_epoch: self.batches(seed, first_epoch),
            rounds,
            self.state_path(folder, seed),
            validation_data=validation_data,
            report=report,
        )

    def restore(self, seed: int, folder: str | os.PathLike) -> keras.Model:
        """The student as that seed's training left it."""
        TrainingState(self.state_path(Path(folder), seed)).restore(training_variables(self.trainer))
        return self.student


def make(inputs: Inputs, store: SoftTargetStore, rounds: Rounds) -> list[Variant]:
    """The variants of a recipe: all train as many steps from the same initial weights.

    Alone on few labels repeats the examples that have one, in a new order each time.
    """
    recipe = inputs.recipe
    training, kept = recipe.training, inputs.labels_kept
    everything = inputs.splits.sizes["train"]

    def initial(seed: int) -> list[np.ndarray]:
        return inputs.model(recipe.student.model, seed).get_weights()

    def variant(
        name: str, title: str, labels: int, batches: Callable, distil: bool = False
    ) -> Variant:
        student = inputs.model(recipe.student.model, recipe.seeds[0])
        trainer = student
        if distil:
            settings = recipe.distillation
            trainer = Distiller(
                None, student, alpha=settings.alpha, temperature=settings.temperature
            )
        compile_for(trainer, training, rounds)
        return Variant(name, title, labels, trainer, student, batches, initial)

    def all_labels(seed: int, first_epoch: int) -> tf.data.Dataset:
        return _epochs(inputs.splits.train, training.batch_size, seed, first_epoch)

    def few_labels(seed: int, first_epoch: int) -> tf.data.Dataset:
        labeled = inputs.few_labels(seed).filter(lambda x, y: y != data.UNLABELED)
        labeled = labeled.apply(tf.data.experimental.assert_cardinality(kept)).cache()
        first_step = first_epoch * rounds.steps
        return _repeated(labeled, training.batch_size, seed, first_step)

    def soft_targets(seed: int, first_epoch: int) -> tf.data.Dataset:
        few = inputs.few_labels(seed)
        batches = store.batches(few, training.batch_size, seed=seed, first_epoch=first_epoch)
        return batches.repeat()

    few = kept < everything
    seen = f"{kept} labels" if few else "all labels"
    variants = [variant("alone", f"alone, {seen}", kept, few_labels if few else all_labels)]
    if few:
        title = f"alone, all {everything} labels"
        variants.append(variant("alone_all_labels", title, everything, all_labels))
    variants.append(variant("distilled", f"distilled, {seen}", kept, soft_targets, distil=True))
    return variants


def _epochs(dataset: tf.data.Dataset, size: int, seed: int, first_epoch: int) -> tf.data.Dataset:
    return data.batches(dataset, size, shuffle_seed=seed, epoch=first_epoch, epochs=None)


def _repeated(dataset: tf.data.Dataset, size: int, seed: int, first_step: int) -> tf.data.Dataset:
    """Full batches from endless passes over a small data set, from some step on."""
    count = int(dataset.cardinality())
    passes, within = divmod(first_step * size, count)
    whole = data.batches(dataset, count, shuffle_seed=seed, epoch=passes, epochs=None)
    return read_ahead(whole.unbatch().skip(within).batch(size, drop_remainder=True))
