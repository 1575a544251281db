"""Runs a recipe and writes a folder with teacher, student, `.tflite` files, record, and report."""

import os
from pathlib import Path
from typing import Any

import keras

from keras_distill import report
from keras_distill._internal import _files, check_choice
from keras_distill._internal._progress import Reporter
from keras_distill.export import keep_converter
from keras_distill.records import Recipe, RunRecord
from keras_distill.runs._assistants import train_assistants
from keras_distill.runs._budget import check_budget, file_budget
from keras_distill.runs._compress import compress_student
from keras_distill.runs._context import RunContext
from keras_distill.runs._evaluate import evaluate
from keras_distill.runs._export import export_student
from keras_distill.runs._load_recipe import smoke_recipe
from keras_distill.runs._search import find_student
from keras_distill.runs._shrink import shrink_teacher
from keras_distill.runs._students import train_students
from keras_distill.runs._targets import soft_targets
from keras_distill.runs._teacher import obtain_teacher
from keras_distill.runs._trackers import Trackers
from keras_distill.work import WorkFolder

# These parts of a recipe determine the trained weights. Other changes keep the trained models.
_TRAINING_PARTS = {
    "data", "teacher", "assistant", "student", "distillation", "training", "variants",
    "generations", "seeds",
}  # fmt: skip


def run(
    recipe: Recipe,
    out: str | os.PathLike,
    *,
    scale: str = "full",
    overwrite: bool = False,
    imports: tuple[str, ...] = (),
    reporter: Reporter | None = None,
    tensorboard: str | os.PathLike[str] | None = None,
    mlflow: str | None = None,
) -> RunRecord:
    """Runs a recipe, or resumes an interrupted run.

    The teacher is trained or loaded, and its logits are stored once. Assistants are distilled from
    it. The student is trained in every variant from the same initial weights for the same number of
    steps, once per seed. The distilled student with the best validation accuracy is exported and,
    with `[compress]` in the recipe, compressed. The files are benchmarked against the teacher. The
    test split is used only once, after all choices have been made.

    Args:
        recipe: The recipe.
        out: The folder to create.
        scale: `full`, or `smoke` for two steps of everything.
        overwrite: Whether to replace an existing `out`, and to discard the unfinished work of
            another recipe.
        imports: Modules that register custom layers of the `.keras` files named in the recipe.
        reporter: Receives the progress.
        tensorboard: A TensorBoard folder for the scalars and settings of every training.
        mlflow: The name of an MLflow experiment, in which every training is a run.

    Returns:
        The record, also saved as `out/record.json`. `out/explore.json` contains the outputs of the
        models on the test split. Files that failed verification are in `exports.rejected` of the
        record, and a failed compression is in `compress.failed`.

    Raises:
        InputError: If the recipe cannot be run, or `out` exists.
        MissingExtraError: If a package that is needed, such as TensorBoard or MLflow, is not
            installed.
    """
    check_choice("scale", scale, ("full", "smoke"))
    if scale == "smoke":
        recipe = smoke_recipe(recipe)
    trackers = Trackers.of(tensorboard, mlflow).within(recipe.name)
    folder = WorkFolder(out, _settings(recipe, scale), overwrite=overwrite)
    reporter = reporter or Reporter()
    with folder, keep_converter():
        context = RunContext.load(
            recipe, folder, scale=scale, imports=imports, reporter=reporter, trackers=trackers
        )
        check_budget(context)
        keras.utils.set_random_seed(0)
        sizes = ", ".join(f"{size} {split}" for split, size in context.splits.sizes.items())
        reporter.stage("data", f"{recipe.data.source}: {sizes}")
        recipe.save(folder.path / "recipe.toml", overwrite=True)

        teacher = obtain_teacher(context)
        model = None if teacher is None else teacher.model
        shrink = shrink_teacher(context, model)
        logits = None if teacher is None else teacher.teacher
        targets = soft_targets(context, logits)
        assistants, targets = train_assistants(context, targets)
        found = find_student(context, model, targets)
        students = train_students(context, targets)
        budget = file_budget(context, logits)
        over_budget = None if budget is None else budget.of_student(students.chosen).failures
        exports = export_student(context, students.chosen, over_budget)
        compressed = compress_student(context, students.chosen, students.chosen_seed, targets)
        # All choices have been made. From here on, the test split may be used.
        if found is not None:
            shrink = found.shrink
        record, explored = evaluate(
            context, teacher, assistants, students, exports, compressed, shrink
        )
        if found is not None and budget is not None:
            kept = budget.best(record)
            record = record.model_copy(update={"search": found.search, "budget": kept})

        record.save(folder.path / "record.json", overwrite=True)
        if explored is not None:
            explored.save(folder.path / "explore.json", overwrite=True)
        page = report.render(record, explored)
        _files.write_text(folder.path / "report.html", page, overwrite=True)
        text = report.card(record, explored)
        _files.write_text(folder.path / "card.md", text, overwrite=True)
        folder.finish()
    return record


def _settings(recipe: Recipe, scale: str) -> dict[str, Any]:
    """Returns the settings that determine the trained weights, with checksums of model files."""
    files = (
        *recipe.teacher.models,
        *(part.model for part in recipe.assistant),
        recipe.student.model,
        recipe.student.pretrained or "",
        *(() if recipe.budget is None else recipe.budget.candidates),
    )
    parts = _TRAINING_PARTS if recipe.budget is None else {*_TRAINING_PARTS, "budget"}
    return {
        "scale": scale,
        "model_files": {name: _files.sha256(name) for name in files if Path(name).is_file()},
        **recipe.model_dump(mode="json", include=parts),
    }
