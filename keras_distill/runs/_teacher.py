"""First stage of a run: the teacher, trained by the run or taken from a file."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from keras_distill import data, models
from keras_distill._internal import _files
from keras_distill.records import Curve
from keras_distill.runs._context import RunContext
from keras_distill.teachers import Teacher, as_teacher
from keras_distill.training import compile_classifier
from keras_distill.work import Rounds, fit_resumable

# The teacher's initial weights and order of data must differ from those of every student's seed.
_SEED = 1_000_003


@dataclass(frozen=True)
class RunTeacher:
    """The teacher of a run.

    Attributes:
        path: `teacher.keras` or `teacher.tflite` in the run's folder.
        teacher: Gives its logits.
        model: The Keras model; None for a `.tflite` file.
        curve: Its training; None if it was given as a file.
    """

    path: Path
    teacher: Teacher
    model: keras.Model | None
    curve: Curve | None


def obtain_teacher(context: RunContext) -> RunTeacher:
    """Trains the teacher that the recipe names, or copies its file into the run's folder."""
    given = Path(context.recipe.teacher.model)
    if given.suffix not in (".keras", ".tflite"):
        path, curve = _train(context)
    else:
        context.reporter.stage("teacher", str(given))
        path, curve = context.folder.path / f"teacher{given.suffix}", None
        if not path.exists():
            with _files.atomic_path(path) as temporary:
                shutil.copyfile(given, temporary)
    if path.suffix == ".tflite":
        return RunTeacher(path, as_teacher(path), None, curve)
    model = models.load(path, imports=context.imports)
    return RunTeacher(path, as_teacher(model), model, curve)


def _train(context: RunContext) -> tuple[Path, Curve]:
    spec, settings = context.recipe.teacher.model, context.recipe.teacher_training
    context.reporter.stage("teacher", f"{spec}, {settings.epochs} epochs")
    train = context.splits.train
    steps = math.ceil(context.splits.sizes["train"] / settings.batch_size)
    rounds = Rounds(settings.epochs, steps)
    model = context.build(spec, seed=_SEED)
    compile_classifier(model, settings, rounds)

    def batches(epoch: int) -> tf.data.Dataset:
        return data.batches(
            train, settings.batch_size, shuffle_seed=_SEED, epoch=epoch, epochs=None
        )

    progress = fit_resumable(
        model,
        batches,
        rounds,
        context.folder.scratch / "teacher.npz",
        validation_data=context.validation,
        report=context.reporter.track("teacher", rounds.count),
    )
    path = context.folder.path / "teacher.keras"
    if not path.exists():
        models.save_uncompiled(model, path)
    return path, Curve.of(progress.logs, rounds.epochs_per_round)
