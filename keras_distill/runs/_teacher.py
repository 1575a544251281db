"""First stage of a run: trains or opens the teacher."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_distill import data, models
from keras_distill._internal import _files
from keras_distill._internal._quantity import number_of
from keras_distill.records import Curve
from keras_distill.runs._context import RunContext
from keras_distill.runs._loaded_data import as_rows
from keras_distill.runs._student_data import augmentation
from keras_distill.runs._teacher_sources import is_spec, open_teacher
from keras_distill.runs._variants import Pupil, in_float32
from keras_distill.teachers import (
    KerasTeacher,
    SavedModelTeacher,
    Teacher,
    TFLiteTeacher,
    as_teacher,
)
from keras_distill.training import compile_classifier, ending_of, rounds_of
from keras_distill.work import fit_resumable

# The teacher's initial weights and order of data must differ from those of every student.
_SEED = 1_000_003


@dataclass(frozen=True)
class RunTeacher:
    """The teacher of a run.

    Attributes:
        teacher: The object that computes the logits.
        measured: The Keras model, or the path of a `.tflite` file or SavedModel, whose size and
            latency are measured; None for other teachers.
        parameters: Number of parameters; None if unknown.
        curve: The logs of its training; None if the run did not train it, or it is an ensemble.
    """

    teacher: Teacher
    measured: Any = None
    parameters: int | None = None
    curve: Curve | None = None

    @property
    def model(self) -> keras.Model | None:
        """The Keras model, if the teacher is one without class mapping or preprocessing."""
        return self.measured if isinstance(self.measured, keras.Model) else None


def obtain_teacher(context: RunContext) -> RunTeacher | None:
    """Trains or opens the teacher that the recipe names; None if the recipe names a store.

    Trained teachers are saved in the run's folder, and files are copied there.
    """
    if context.store is not None:
        context.reporter.stage("teacher", f"none runs: {context.recipe.teacher}")
        return None
    part = context.recipe.teacher
    sources = part.models * part.members
    members: list[Teacher] = []
    curves = []
    for number, source in enumerate(sources):
        stem = "teacher" if len(sources) == 1 else f"teacher-{number + 1}"
        if is_spec(source):
            path, curve = _train(context, source, stem, _SEED + number)
            curves.append(curve)
            members.append(as_teacher(models.load(path, imports=context.imports)))
        else:
            context.reporter.stage("teacher", source)
            members.append(open_teacher(_copied(context, source, stem), part, context.imports))
    teacher = context.composed(members)
    plain = len(members) == 1 and teacher is members[0]
    return RunTeacher(
        teacher,
        _measured(members[0]) if plain else None,
        _parameters(members),
        curves[0] if len(members) == len(curves) == 1 else None,
    )


def _copied(context: RunContext, source: str, stem: str) -> str:
    """Copies a file into the run's folder, and returns its new path; folders are not copied."""
    given = Path(source).expanduser()
    if not given.is_file():
        return source
    path = context.folder.path / f"{stem}{given.suffix}"
    if not path.exists():
        with _files.atomic_path(path) as temporary:
            shutil.copyfile(given, temporary)
    return str(path)


def _measured(teacher: Teacher) -> Any:
    if isinstance(teacher, KerasTeacher):
        return teacher.model
    return teacher.path if isinstance(teacher, TFLiteTeacher | SavedModelTeacher) else None


def _parameters(members: list[Teacher]) -> int | None:
    if not all(isinstance(member, KerasTeacher) for member in members):
        return None
    return sum(m.model.count_params() for m in members if isinstance(m, KerasTeacher))


def _train(context: RunContext, spec: str, stem: str, seed: int) -> tuple[Path, Curve | None]:
    recipe, splits = context.recipe, context.teacher_splits
    settings = recipe.teacher_training
    path, state = context.folder.path / f"{stem}.keras", context.folder.scratch / f"{stem}.npz"
    if path.exists() and not state.exists():  # trained before; the folder is finished
        return path, None
    length = settings.budget or number_of(settings.epochs, "epoch")
    context.reporter.stage("teacher", f"{spec}, {length}")

    def build(seed: int) -> keras.Model:
        return context.build_teacher(spec, seed)

    model = Pupil(build, spec, settings, {seed: []}).model()
    rounds = rounds_of(settings, splits.sizes["train"])
    augment = augmentation(recipe.teacher.augment or recipe.data.augment, splits.input_shape)
    mixes = augment is not None and augment.mixes
    smoothing = settings.label_smoothing
    compile_classifier(model, settings, rounds, label_smoothing=smoothing, rows=mixes)
    validation = context.teacher_validation

    def batches(epoch: int) -> tf.data.Dataset:
        if augment is None:
            return data.batches(
                splits.train, settings.batch_size, shuffle_seed=seed, epoch=epoch, epochs=None
            )
        views = data.augmented_batches(
            splits.train.enumerate(),
            settings.batch_size,
            augment,
            shuffle_seed=seed,
            first_step=epoch * rounds.steps,
            classes=splits.num_classes,
        )
        return views.map(lambda x, y: (x, y[0])) if mixes else views

    with context.trackers.training(recipe, stem, seed - _SEED) as callbacks:
        progress = fit_resumable(
            model,
            batches,
            rounds,
            state,
            validation_data=as_rows(validation, splits) if mixes else validation,
            report=context.reporter.track(stem),
            ending=ending_of(settings, rounds),
            callbacks=callbacks,
        )
    if not path.exists():
        models.save_uncompiled(in_float32(model), path)
    return path, Curve.of(progress.logs, rounds.epochs_per_round)
