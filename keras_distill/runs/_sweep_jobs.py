"""The jobs of a sweep: a teacher, its store, a student, and the evaluation on test data.

Each job is a function of JSON values, so that any process can run it. Data and compiled trainers
are kept and shared by the jobs in one process; see `_sweep_kept.py`.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill import data, metrics, models
from keras_distill._internal import _files
from keras_distill._internal._progress import Reporter
from keras_distill.records import Curve, Recipe
from keras_distill.runs._assistants import train_assistants
from keras_distill.runs._context import FinishedFolder, RunContext, check_teacher
from keras_distill.runs._losses import reads_layers
from keras_distill.runs._shrink import shrink_teacher, student_spec
from keras_distill.runs._students import train_variants
from keras_distill.runs._sweep_kept import KEPT
from keras_distill.runs._sweep_plan import DISTILLED, RESULT, WEIGHTS
from keras_distill.runs._targets import SoftTargets, soft_targets, store_targets
from keras_distill.runs._teacher import RunTeacher, obtain_teacher
from keras_distill.runs._trackers import NO_TRACKERS, Trackers
from keras_distill.shrink import is_shrink_spec
from keras_distill.work import TrainingState, WorkFolder

TARGETS, SHRUNK = "targets", "shrunk.keras"


def make_teacher(
    *,
    settings: dict[str, Any],
    recipe: dict[str, Any],
    trackers: dict[str, Any],
    scale: str,
    imports: list[str],
    out: str,
) -> dict[str, Any]:
    """Trains a teacher, or copies its files.

    Args:
        settings: The settings that determine the result. Other settings make it another job.
        recipe: The recipe of a point that needs the teacher.
        trackers: The values of the `Trackers`.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.
        out: The folder to write, with the teacher's files and `result.json`.

    Returns:
        The fields of a `SweepTeacher` that are known before the test split is used.
    """
    if (Path(out) / RESULT).exists():  # its process was killed before the job was recorded
        return _read(Path(out) / RESULT)
    with WorkFolder(out, settings, overwrite=True, what="teacher of a sweep") as folder:
        context = context_of(recipe, folder, scale, imports, trackers)
        check_teacher(context)
        teacher = obtain_teacher(context)
        assert teacher is not None  # there is no such job if the recipe names a store
        labels = data.labels_of(context.splits.validation)
        result = {
            "model": str(context.recipe.teacher),
            "source": context.recipe.data.source,
            **context.splits.sizes,
            "parameters": teacher.parameters,
            "validation_accuracy": _accuracy(teacher.teacher.predict, context.validation, labels),
            "fingerprint": teacher.teacher.fingerprint(),
        }
        _files.write_json(folder.path / RESULT, result)
        folder.finish()
    return result


def make_store(
    *,
    settings: dict[str, Any],
    fingerprint: str | None,
    teacher: str | None,
    recipe: dict[str, Any],
    scale: str,
    imports: list[str],
    out: str,
) -> dict[str, Any]:
    """Stores the logits of a teacher, or of the last assistant, which this job trains.

    Args:
        settings: The settings that determine the result, together with `fingerprint`. Other
            settings make it another job.
        fingerprint: The fingerprint of the teacher.
        teacher: The folder that `make_teacher` wrote; None if the recipe names a store.
        recipe: The recipe of a point that needs the store.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.
        out: The folder to write, with `targets/` and `result.json`.

    Returns:
        The size of the store, `store_bytes`.
    """
    if (Path(out) / RESULT).exists():
        return _read(Path(out) / RESULT)
    marks = {**settings, "fingerprint": fingerprint}
    with WorkFolder(out, marks, overwrite=True, what="store of a sweep") as folder:
        context = context_of(recipe, folder, scale, imports)
        store = folder.path / TARGETS
        found = _opened(teacher, recipe, scale, imports)
        model = None if found is None else found.teacher
        if context.recipe.assistant:
            assistants, _ = train_assistants(context, soft_targets(context, model))
            model = assistants[-1].teacher
        assert model is not None  # otherwise there is no such job
        made = store_targets(context, model, store)
        result = {"store_bytes": sum(shard.bytes for shard in made.manifest.shards)}
        _files.write_json(folder.path / RESULT, result)
        folder.finish()
    return result


def train_student(
    *,
    settings: dict[str, Any],
    seed: int,
    fingerprint: str | None,
    variant: str,
    trainer: str,
    recipe: dict[str, Any],
    trackers: dict[str, Any],
    scale: str,
    imports: list[str],
    teacher: str | None,
    store: str | None,
    out: str,
) -> dict[str, Any]:
    """Trains one student of a sweep, or resumes its training.

    Args:
        settings: The settings that determine the result, together with `seed` and `fingerprint`.
            Other settings make it another job.
        seed: Seed of the initial weights, the order of the data, and the labels that are kept.
        fingerprint: The fingerprint of its teacher; None without a teacher.
        variant: `distilled`, or a variant without a teacher.
        trainer: Identifies the compiled trainer; see `Point.trainer`.
        recipe: The recipe of its point.
        trackers: The values of the `Trackers`.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.
        teacher: The folder of its teacher; None without a teacher.
        store: The folder that `make_store` wrote; None without a store.
        out: The folder to write, with `student.npz` and `result.json`.

    Returns:
        The fields of a `SeedResult` that are known before the test split is used, and facts about
        the student.
    """
    if (Path(out) / RESULT).exists():
        return _read(Path(out) / RESULT)
    marks = {**settings, "seed": seed, "fingerprint": fingerprint}
    with WorkFolder(out, marks, overwrite=True, what="student of a sweep") as folder:
        context = context_of({**recipe, "seeds": [seed]}, folder, scale, imports, trackers)
        if is_shrink_spec(context.recipe.student.model):
            found = _opened(teacher, recipe, scale, imports)
            shrink_teacher(context, None if found is None else found.model)
            shutil.copyfile(student_spec(context), folder.path / SHRUNK)
        pupil = KEPT.pupil(trainer, context, seed)
        targets = None
        if variant == DISTILLED:
            targets = targets_of(context, teacher, store, recipe)
        made = train_variants(context, targets, pupil, [variant])[-1]
        progress, student = made.done[seed], made.restore(seed)
        curve = Curve.of(progress.logs, made.rounds.epochs_per_round)
        return finish_student(
            folder,
            student,
            seed=seed,
            validation_accuracy=progress.kept("val_accuracy"),
            seconds=progress.seconds,
            curve=curve.model_dump(mode="json"),
            validation=context.splits.sizes["validation"],
            labels=made.lesson.labels,
            steps=made.steps,
        )


def finish_student(folder: WorkFolder, student: keras.Model, **result: Any) -> dict[str, Any]:
    """Writes a trained student and its result into its folder, and finishes the folder.

    Args:
        folder: The folder.
        student: The student.
        **result: The fields of the result that come from the training.

    Returns:
        The complete result.
    """
    TrainingState(folder.path / WEIGHTS).save(student.weights, {})
    result = {
        **result,
        "parameters": student.count_params(),
        "weights_sha256": _files.sha256(folder.path / WEIGHTS),
    }
    _files.write_json(folder.path / RESULT, result)
    folder.finish()
    return result


def targets_of(
    context: RunContext, teacher: str | None, store: str | None, recipe: Mapping[str, Any]
) -> SoftTargets:
    """Opens the soft targets, or the teacher, from which a student learns."""
    if reads_layers(context.recipe.distillation) and not context.recipe.assistant:
        found = _opened(teacher, recipe, context.scale, context.imports)
        return soft_targets(context, None if found is None else found.teacher)
    if store is None:
        return soft_targets(context, None)
    return SoftTargets(context, KEPT.store(Path(store) / TARGETS))


def _opened(
    teacher: str | None, recipe: Mapping[str, Any], scale: str, imports: Sequence[str]
) -> RunTeacher | None:
    """Opens the teacher in the folder that `make_teacher` wrote."""
    if teacher is None:
        return None
    return obtain_teacher(context_of(recipe, FinishedFolder(Path(teacher)), scale, imports))


def evaluate_students(
    *,
    checksums: dict[str, str],
    weights: dict[str, str],
    recipe: dict[str, Any],
    scale: str,
    imports: list[str],
) -> dict[str, float]:
    """Evaluates students of one architecture on the test split.

    Args:
        checksums: The checksums of the students' weights, by name. Other checksums make it another
            job.
        weights: The files of the students' weights, by name.
        recipe: The recipe of a point with the same architecture and data.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.

    Returns:
        The test accuracy of each student, 0..1, by name.
    """
    del checksums
    parsed, modules = _parsed(recipe), tuple(imports)
    loaded = KEPT.data(parsed, scale, modules)
    student = loaded.builder(modules)(_architecture(next(iter(weights.values())), parsed))
    test, labels = loaded.test, data.labels_of(loaded.splits.test)
    found = {}
    for name, path in weights.items():
        TrainingState(path).restore(student.weights)
        found[name] = _accuracy(student.predict_on_batch, test, labels)
    return found


def evaluate_teacher(
    *,
    name: str,
    fingerprint: str | None,
    teacher: str,
    recipe: dict[str, Any],
    scale: str,
    imports: list[str],
) -> dict[str, float]:
    """Evaluates a teacher on the test split.

    Args:
        name: The name of the teacher.
        fingerprint: The fingerprint of the teacher. Another one makes it another job.
        teacher: The folder that `make_teacher` wrote.
        recipe: The recipe of a point that needs the teacher.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.

    Returns:
        The test accuracy, 0..1, by the name of the teacher.
    """
    del fingerprint
    loaded = KEPT.data(_parsed(recipe), scale, tuple(imports))
    found = _opened(teacher, recipe, scale, imports)
    assert found is not None  # the folder is given
    predict = found.teacher.predict
    return {name: _accuracy(predict, loaded.test, data.labels_of(loaded.splits.test))}


def save_student(
    *,
    checksum: str,
    weights: str,
    recipe: dict[str, Any],
    scale: str,
    imports: list[str],
    out: str,
) -> None:
    """Writes a trained student as a `.keras` file.

    Args:
        checksum: The checksum of its weights. Another one makes it another job.
        weights: The file of its weights.
        recipe: The recipe of its point.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.
        out: The file to write. An existing file is replaced.
    """
    del checksum
    parsed, modules = _parsed(recipe), tuple(imports)
    build = KEPT.data(parsed, scale, modules).builder(modules)
    student = build(_architecture(weights, parsed))
    TrainingState(weights).restore(student.weights)
    models.save_uncompiled(student, Path(out))


def _architecture(weights: str, recipe: Recipe) -> str:
    """Returns the spec of a trained student, or the file with its architecture."""
    shrunk = Path(weights).with_name(SHRUNK)
    return str(shrunk) if shrunk.exists() else recipe.student.model


def context_of(
    recipe: Mapping[str, Any],
    folder: WorkFolder | FinishedFolder,
    scale: str,
    imports: Sequence[str],
    trackers: Mapping[str, Any] | None = None,
) -> RunContext:
    parsed, modules = _parsed(recipe), tuple(imports)
    return RunContext.of(
        parsed,
        folder,
        KEPT.data(parsed, scale, modules),
        scale=scale,
        imports=modules,
        reporter=Reporter(),
        trackers=NO_TRACKERS if trackers is None else Trackers.from_values(trackers),
    )


def _accuracy(
    predict: Callable[[Any], np.ndarray], batches: tf.data.Dataset, labels: np.ndarray
) -> float:
    logits = [predict(x) for x, _ in batches.as_numpy_iterator()]
    return metrics.accuracy(np.concatenate(logits), labels)


def _parsed(recipe: Mapping[str, Any]) -> Recipe:
    return Recipe.parse(recipe, source="the point's recipe")


def _read(path: Path) -> dict[str, Any]:
    found = _files.read_json(path)
    assert isinstance(found, dict)
    return found
