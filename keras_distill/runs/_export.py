"""Fourth stage of a run: the `.tflite` files of the chosen student."""

import warnings

import keras

from keras_distill._internal import KerasDistillWarning
from keras_distill.export import export_all
from keras_distill.records import ExportSet
from keras_distill.runs._context import RunContext


def export_student(context: RunContext, student: keras.Model) -> ExportSet:
    """Exports the student in every precision of the recipe; each file is verified."""
    part = context.recipe.export
    context.reporter.stage("export", ", ".join(part.quantizations))
    with warnings.catch_warnings():
        if context.scale == "smoke":  # a student of two steps knows nothing
            warnings.simplefilter("ignore", KerasDistillWarning)
        return export_all(
            student,
            context.folder.path,
            quantizations=part.quantizations,
            stem="student",
            calibration=context.splits,
            calibration_samples=part.calibration_samples,
            data=context.splits,
            max_drop=part.max_drop,
            overwrite=True,
            **context.file_options,
        )
