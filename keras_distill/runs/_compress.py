"""The compression of a run: the chosen student pruned, clustered, quantized on the run's store.

tensorflow-model-optimization and tf_keras take seconds to import: only runs that compress do it.
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
from keras_distill._internal._progress import Reporter
from keras_distill.records._compress import CompressRecord
from keras_distill.records._run import CompressResult
from keras_distill.runs._context import Inputs
from keras_distill.runs._folder import RunFolder
from keras_distill.targets import SoftTargetStore

FOLDER = "compressed"
"""Where it stands in the run's folder: what `compress` makes."""


def check_wanted(inputs: Inputs) -> None:
    """Checks before any work is done that the student can be compressed as the recipe asks.

    Raises:
        InputError: If it cannot.
    """
    part = inputs.recipe.compress
    if part is None:
        return
    from keras_distill.compress import check_student

    student = inputs.model(inputs.recipe.student.model, inputs.recipe.seeds[0], name="student")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tf_keras, on its own internals
        check_student(student, part.steps, skip=part.skip)


def compress_chosen(
    student: keras.Model,
    seed: int,
    inputs: Inputs,
    store: SoftTargetStore,
    folder: RunFolder,
    reporter: Reporter,
) -> CompressResult | None:
    """Compresses the chosen student, or takes what an earlier session of the run finished.

    Args:
        student: The chosen distilled student; it is not changed.
        seed: Its seed: of the order of data, and of the labels kept.
        inputs: What the run works on.
        store: The run's soft targets.
        folder: The run's folder; gets `compressed/`.
        reporter: Told of progress.

    Returns:
        The record, or why there is no file; None where the recipe does not ask for it.
    """
    # An earlier session may have been asked for another compression.
    _files.remove(folder.path / FOLDER)
    part = inputs.recipe.compress
    if part is None:
        return None
    reporter.stage("compress", f"{', '.join(part.steps)}; {part.epochs} epochs each")
    out = folder.work / f"{FOLDER}-{_digest(inputs, seed)}"
    if not out.exists():
        try:
            _compress(student, seed, inputs, store, out)
        except (VerificationError, InputError) as error:
            # What was trained before is not lost to a file that cannot be made.
            return CompressResult(failed=str(error))
    with _files.atomic_path(folder.path / FOLDER) as temporary:
        shutil.copytree(out, temporary)
    return CompressResult(record=CompressRecord.load(out / "compress.json"))


def _digest(inputs: Inputs, seed: int) -> str:
    """Stands for all that decides the result, beside what the whole folder is bound to."""
    recipe = inputs.recipe
    asked = [seed, recipe.compress, recipe.export.calibration_samples, recipe.export.max_drop]
    text = json.dumps(asked, default=lambda part: part.model_dump(mode="json"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _compress(
    student: keras.Model, seed: int, inputs: Inputs, store: SoftTargetStore, out: Path
) -> None:
    from keras_distill.compress import compress

    recipe, part = inputs.recipe, inputs.recipe.compress
    training = recipe.compress_training
    assert part is not None and training is not None
    few = inputs.few_labels(seed)

    def soft_targets(epoch: int) -> tf.data.Dataset:
        return store.batches(few, training.batch_size, seed=seed, first_epoch=epoch).repeat()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the record carries those of the conversion
        compress(
            student,
            soft_targets,
            part.steps,
            out,
            skip=part.skip,
            sparse=part.sparse,
            overwrite=True,
            export={
                "calibration_samples": recipe.export.calibration_samples,
                "max_drop": recipe.export.max_drop,
                "class_names": inputs.splits.class_names,
            },
            alpha=recipe.distillation.alpha,
            temperature=recipe.distillation.temperature,
            steps_per_epoch=math.ceil(inputs.splits.sizes["train"] / training.batch_size),
            validation_data=inputs.evaluation("validation"),
            **training.model_dump(),
        )
