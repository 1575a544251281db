"""Fourth stage of a run: exports the chosen student to `.tflite` files."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_distill._internal import KerasDistillWarning, VerificationError
from keras_distill.export import export_all
from keras_distill.precision import AUTO, choose_tflite
from keras_distill.records import ExportSet
from keras_distill.runs._context import RunContext

Against = Callable[[Path], Sequence[str]]


def export_student(
    context: RunContext, student: keras.Model, over_budget: Against | None = None
) -> ExportSet:
    """Exports the student in every precision of the recipe; each file is verified.

    Args:
        context: The run.
        student: The student.
        over_budget: A function that returns the limits that a file exceeds. With the precision
            "auto", only a file that exceeds no limit is chosen.
    """
    part, precisions = context.recipe.export, context.recipe.quantizations
    context.reporter.stage("export", ", ".join(precisions))
    with warnings.catch_warnings():
        if context.scale == "smoke":  # a student trained for two steps is not accurate
            warnings.simplefilter("ignore", KerasDistillWarning)
        options = {
            "calibration": context.splits,
            "calibration_samples": part.calibration_samples,
            "data": context.splits,
            "max_drop": part.max_drop,
            "overwrite": True,
            **context.file_options,
        }
        plain = [name for name in precisions if name != AUTO]
        made = ExportSet(exports={}, rejected={}, impossible={})
        if plain:
            folder = context.folder.path
            made = export_all(student, folder, quantizations=plain, stem="student", **options)
        if AUTO not in precisions:
            return made
        return _chosen(context, student, made, {**options, "also": over_budget})


def _chosen(
    context: RunContext, student: keras.Model, made: ExportSet, options: dict[str, Any]
) -> ExportSet:
    """Adds `student-auto.tflite`, the smallest file that passes, or the reason if none does."""
    budget = context.recipe.budget
    try:
        record = choose_tflite(
            student,
            context.folder.path / f"student-{AUTO}.tflite",
            max_bytes=None if budget is None else budget.max_bytes,
            **options,
        )
    except VerificationError as error:
        return made.model_copy(update={"rejected": {**made.rejected, AUTO: str(error)}})
    return made.model_copy(update={"exports": {**made.exports, AUTO: record}})
