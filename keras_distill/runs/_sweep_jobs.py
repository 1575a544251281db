"""The jobs of a sweep: a teacher, its store, a student, and the evaluation on test data.

Each is a function of JSON values, so that any process can run it. What jobs in one process share
(data, compiled trainers) is kept between them, see `_sweep_kept.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_distill import data, models
from keras_distill._internal import _files
from keras_distill._internal._progress import Reporter
from keras_distill.records import Curve, Recipe
from keras_distill.runs._context import RunContext, check_teacher
from keras_distill.runs._evaluate import accuracy_of
from keras_distill.runs._losses import reads_layers
from keras_distill.runs._students import train_variants
from keras_distill.runs._sweep_kept import KEPT
from keras_distill.runs._sweep_plan import RESULT, WEIGHTS
from keras_distill.runs._targets import SoftTargets, store_targets
from keras_distill.runs._teacher import load_teacher, obtain_teacher
from keras_distill.targets import SoftTargetStore
from keras_distill.work import TrainingState, WorkFolder


def make_teacher(
    *, settings: dict[str, Any], recipe: dict[str, Any], scale: str, imports: list[str], out: str
) -> dict[str, Any]:
    """Trains a teacher, or copies its file.

    Args:
        settings: What decides the result; it makes another teacher another job.
        recipe: The recipe of a point that needs it.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.
        out: The folder to write: its file, and `result.json`.

    Returns:
        The fields of a `SweepTeacher` that are known before the test, and the name of its file.
    """
    if (Path(out) / RESULT).exists():  # its process was killed before the job was recorded
        return _read(Path(out) / RESULT)
    with WorkFolder(out, settings, overwrite=True, what="teacher of a sweep") as folder:
        context = _context(recipe, folder, scale, imports)
        check_teacher(context)
        teacher = obtain_teacher(context)
        labels = data.labels_of(context.splits.validation)
        result = {
            "model": context.recipe.teacher.model,
            "source": context.recipe.data.source,
            **context.splits.sizes,
            "parameters": None if teacher.model is None else teacher.model.count_params(),
            "validation_accuracy": accuracy_of(teacher.teacher.predict, context.validation, labels),
            "fingerprint": teacher.teacher.fingerprint(),
            "file": teacher.path.name,
        }
        _files.write_json(folder.path / RESULT, result)
        folder.finish()
    return result


def make_store(
    *,
    settings: dict[str, Any],
    fingerprint: str | None,
    teacher: str,
    recipe: dict[str, Any],
    scale: str,
    imports: list[str],
    out: str,
) -> dict[str, Any]:
    """Stores a teacher's logits on the examples that students see.

    Args:
        settings: What decides the examples and the records; another value is another job.
        fingerprint: The teacher's; likewise.
        teacher: The file of the teacher.
        recipe: The recipe of a point that needs the store.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.
        out: The folder of the store.

    Returns:
        Its size: `store_bytes`.
    """
    del settings, fingerprint
    context = _context(recipe, WorkFolder(out, {}, overwrite=True), scale, imports)
    found = load_teacher(Path(teacher), imports)
    store = store_targets(context, found.teacher, Path(out))
    return {"store_bytes": sum(shard.bytes for shard in store.manifest.shards)}


def train_student(
    *,
    settings: dict[str, Any],
    seed: int,
    fingerprint: str | None,
    variant: str,
    trainer: str,
    recipe: dict[str, Any],
    scale: str,
    imports: list[str],
    teacher: str | None,
    store: str | None,
    out: str,
) -> dict[str, Any]:
    """Trains one student of a sweep, or resumes its training.

    Args:
        settings: What decides the result, but for the next two; another value is another job.
        seed: Seed of initial weights, order of data, and choice of the labels kept.
        fingerprint: Its teacher's; None without.
        variant: `distilled`, or a variant without a teacher.
        trainer: Identifies the compiled trainer; see `Point.trainer`.
        recipe: The recipe of its point.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.
        teacher: The file of its teacher; None without.
        store: The store of its soft targets; None without.
        out: The folder to write: `student.npz`, `result.json`.

    Returns:
        The fields of a `SeedResult` that are known before the test, and those of the student.
    """
    if (Path(out) / RESULT).exists():
        return _read(Path(out) / RESULT)
    marks = {**settings, "seed": seed, "fingerprint": fingerprint}
    with WorkFolder(out, marks, overwrite=True, what="student of a sweep") as folder:
        context = _context({**recipe, "seeds": [seed]}, folder, scale, imports)
        pupil = KEPT.pupil(trainer, context, seed)
        targets = _targets(context, teacher, store)
        made = train_variants(context, targets, pupil, [variant])[-1]
        progress, student = made.done[seed], made.restore(seed)
        TrainingState(folder.path / WEIGHTS).save(student.weights, {})
        curve = Curve.of(progress.logs, made.rounds.epochs_per_round)
        result = {
            "seed": seed,
            "validation_accuracy": progress.kept("val_accuracy"),
            "seconds": progress.seconds,
            "curve": curve.model_dump(mode="json"),
            "labels": made.lesson.labels,
            "parameters": student.count_params(),
            "steps": made.steps,
            "weights_sha256": _files.sha256(folder.path / WEIGHTS),
        }
        _files.write_json(folder.path / RESULT, result)
        folder.finish()
    return result


def _targets(context: RunContext, teacher: str | None, store: str | None) -> SoftTargets | None:
    if teacher is None or store is None:
        return None
    if reads_layers(context.recipe.distillation):
        found = load_teacher(Path(teacher), context.imports)
        return SoftTargets(context, None, found.teacher)
    return SoftTargets(context, SoftTargetStore.open(store))


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
        checksums: Those of their weights, by name; others make it another job.
        weights: The files of their weights, by name.
        recipe: The recipe of a point of that architecture and data.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.

    Returns:
        The test accuracy of each, 0..1, by name.
    """
    del checksums
    parsed, modules = _parsed(recipe), tuple(imports)
    loaded = KEPT.data(parsed, scale, modules)
    student = loaded.builder(modules)(parsed.student.model)
    test, labels = loaded.test, data.labels_of(loaded.splits.test)
    found = {}
    for name, path in weights.items():
        TrainingState(path).restore(student.weights)
        found[name] = accuracy_of(student.predict_on_batch, test, labels)
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
        name: Its name.
        fingerprint: What identifies its logits; another one makes it another job.
        teacher: Its file.
        recipe: The recipe of a point that needs it.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.

    Returns:
        The test accuracy, 0..1, by name.
    """
    del fingerprint
    loaded = KEPT.data(_parsed(recipe), scale, tuple(imports))
    predict = load_teacher(Path(teacher), imports).teacher.predict
    return {name: accuracy_of(predict, loaded.test, data.labels_of(loaded.splits.test))}


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
        checksum: That of its weights; another one makes it another job.
        weights: The file of its weights.
        recipe: The recipe of its point.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.
        out: The file to write, which may exist.
    """
    del checksum
    parsed, modules = _parsed(recipe), tuple(imports)
    student = KEPT.data(parsed, scale, modules).builder(modules)(parsed.student.model)
    TrainingState(weights).restore(student.weights)
    models.save_uncompiled(student, Path(out))


def _context(
    recipe: Mapping[str, Any], folder: WorkFolder, scale: str, imports: list[str]
) -> RunContext:
    parsed, modules = _parsed(recipe), tuple(imports)
    loaded = KEPT.data(parsed, scale, modules)
    return RunContext.of(parsed, folder, loaded, scale=scale, imports=modules, reporter=Reporter())


def _parsed(recipe: Mapping[str, Any]) -> Recipe:
    return Recipe.parse(recipe, source="the point's recipe")


def _read(path: Path) -> dict[str, Any]:
    found = _files.read_json(path)
    assert isinstance(found, dict)
    return found
