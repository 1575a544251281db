"""Fifth stage of a run: prunes, clusters, and quantizes the chosen student on the same targets.

tensorflow-model-optimization and tf_keras take seconds to import, so only runs with compression
import them.
"""

import hashlib
import json
import math
import shutil
import warnings
from pathlib import Path

import keras
import tensorflow as tf

from keras_distill._internal import InputError, VerificationError, _files
from keras_distill._internal._quantity import number_of
from keras_distill.records import CompressRecord, CompressResult, Recipe
from keras_distill.runs._context import RunContext
from keras_distill.runs._losses import distillation_losses, logits_only
from keras_distill.runs._targets import SoftTargets, stored_batches
from keras_distill.targets import SoftTargetStore
from keras_distill.work import ReportSteps

COMPRESSED = "compressed"
"""Name of the folder in the run's folder that compression makes."""


def compress_student(
    context: RunContext, student: keras.Model, seed: int, targets: SoftTargets
) -> CompressResult | None:
    """Compresses the chosen student, or loads the result of an earlier session of the run.

    Args:
        context: The run.
        student: The chosen distilled student. It is not changed.
        seed: The student's seed, for the order of the data and the labels that are kept.
        targets: The run's soft targets.

    Returns:
        The record, or the reason why there is no file; None without `[compress]` in the recipe. A
        failed compression leaves the trained steps in the folder, without a file.
    """
    part = context.recipe.compress
    out = context.folder.scratch / f"{COMPRESSED}-{_digest(context.recipe, seed)}"
    # An earlier session may have used other settings of compression.
    target = context.folder.path / COMPRESSED
    _files.remove(target)
    if part is None:
        return None
    context.reporter.stage(
        "compress", f"{', '.join(part.steps)}; {number_of(part.epochs, 'epoch')} each"
    )
    try:
        if not out.exists():
            # Compression trains only on stored logits. They are stored now if they were not before.
            _compress(context, student, seed, targets.stored(), out)
    except InputError as error:
        # If the file cannot be made, the earlier stages must not be lost.
        return CompressResult(failed=str(error))
    except VerificationError as error:
        return _failed(error, out.with_name(f"{out.name}.unfinished"), target)
    _copy(out, target)
    return CompressResult(record=CompressRecord.load(out / "compress.json"))


def _failed(error: VerificationError, unfinished: Path, target: Path) -> CompressResult:
    """Keeps the trained steps of a failed compression, and adds their location to the reason."""
    record = error.record
    if not isinstance(record, CompressRecord) or not record.steps:
        return CompressResult(failed=str(error))
    _copy(unfinished, target)
    kept = f"The trained steps are in {COMPRESSED}/ (student.keras), without a .tflite file."
    return CompressResult(record=record, failed=f"{record.failed} {kept}")


def _copy(folder: Path, target: Path) -> None:
    with _files.atomic_path(target) as temporary:
        shutil.copytree(folder, temporary, ignore=shutil.ignore_patterns(".*", "work"))


def _digest(recipe: Recipe, seed: int) -> str:
    """Returns a hash of the settings that determine the result but not the run's trainings."""
    export = recipe.export
    settings = [seed, recipe.compress, export.calibration_samples, export.max_drop]
    text = json.dumps(settings, default=lambda part: part.model_dump(mode="json"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _compress(
    context: RunContext, student: keras.Model, seed: int, store: SoftTargetStore, out: Path
) -> None:
    from keras_distill.compress import compress

    recipe = context.recipe
    part, training = recipe.compress, recipe.compress_training
    assert part is not None and training is not None
    few = context.student_data.with_few_labels(seed)
    steps = math.ceil(context.student_data.examples / training.batch_size)

    def batches(epoch: int) -> tf.data.Dataset:
        return stored_batches(store, few, training.batch_size, seed, epoch)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warnings of the conversion are in the record
        compress(
            student,
            batches,
            part.steps,
            out,
            skip=part.skip,
            sparse=part.sparse,
            max_drop=recipe.export.max_drop if part.max_drop is None else part.max_drop,
            recover=part.recover,
            overwrite=True,
            export={
                "data": context.splits,
                "calibration_samples": recipe.export.calibration_samples,
                **context.file_options,
            },
            **distillation_losses(logits_only(recipe.distillation), training.epochs * steps),
            steps_per_epoch=steps,
            validation_data=context.validation,
            callbacks=[ReportSteps(context.reporter)],
            **training.model_dump(),
        )
