"""First stage of a run: the teacher, trained by the run or taken from a file."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from keras_distill import data, models
from keras_distill._internal import _files
from keras_distill.records import Curve
from keras_distill.runs._context import RunContext
from keras_distill.runs._student_data import augmentation
from keras_distill.runs._variants import Pupil
from keras_distill.teachers import Teacher, as_teacher
from keras_distill.training import compile_classifier, ending_of, rounds_of
from keras_distill.work import fit_resumable

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
    return load_teacher(path, context.imports, curve)


def load_teacher(path: Path, imports: Sequence[str], curve: Curve | None = None) -> RunTeacher:
    """Loads the teacher that `obtain_teacher` left in a folder.

    Args:
        path: Its file.
        imports: Modules that register custom layers.
        curve: Its training; None if it was given as a file.
    """
    if path.suffix == ".tflite":
        return RunTeacher(path, as_teacher(path), None, curve)
    model = models.load(path, imports=imports)
    return RunTeacher(path, as_teacher(model), model, curve)


def _train(context: RunContext) -> tuple[Path, Curve]:
    recipe, splits = context.recipe, context.splits
    spec, settings = recipe.teacher.model, recipe.teacher_training
    length = settings.budget or f"{settings.epochs} epochs"
    context.reporter.stage("teacher", f"{spec}, {length}")
    pupil = Pupil.of(lambda seed: context.build(spec, seed=seed), spec, settings, [_SEED])
    model = pupil.model()
    rounds = rounds_of(settings, splits.sizes["train"])
    compile_classifier(model, settings, rounds, label_smoothing=settings.label_smoothing)
    augment = augmentation(recipe.teacher.augment or recipe.data.augment, splits.input_shape)

    def batches(epoch: int) -> tf.data.Dataset:
        if augment is None:
            return data.batches(
                splits.train, settings.batch_size, shuffle_seed=_SEED, epoch=epoch, epochs=None
            )
        return data.augmented_batches(
            splits.train.enumerate(),
            settings.batch_size,
            augment,
            shuffle_seed=_SEED,
            first_step=epoch * rounds.steps,
        )

    progress = fit_resumable(
        model,
        batches,
        rounds,
        context.folder.scratch / "teacher.npz",
        validation_data=context.validation,
        report=context.reporter.track("teacher", rounds.count),
        ending=ending_of(settings, rounds),
    )
    path = context.folder.path / "teacher.keras"
    if not path.exists():
        models.save_uncompiled(models.with_precision(model, "float32"), path)
    return path, Curve.of(progress.logs, rounds.epochs_per_round)
