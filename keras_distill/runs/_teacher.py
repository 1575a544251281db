"""The teacher of a run: trained or loaded, judged, and asked once for its soft targets."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_distill import data, metrics, models, teachers
from keras_distill._internal import InputError, _files
from keras_distill._internal._progress import Reporter
from keras_distill.records._run import Curve
from keras_distill.runs._context import Inputs
from keras_distill.runs._folder import RunFolder
from keras_distill.runs._variants import compile_for, curve_of
from keras_distill.targets import SoftTargetStore
from keras_distill.work import fit_resumable

# The teacher's weights and order of data must not be those of a student's seed.
_TEACHER_SEED = 1_000_003


@dataclass(frozen=True)
class Taught:
    """A teacher in its file.

    Attributes:
        path: `teacher.keras` or `teacher.tflite` in the run's folder.
        teacher: What yields its logits.
        model: The Keras model; None for a `.tflite` file.
        curve: Its training; None where it was given as a file.
    """

    path: Path
    teacher: teachers.Teacher
    model: keras.Model | None
    curve: Curve | None

    def logits(self, inputs: Inputs, split: str) -> np.ndarray:
        """Its logits on a split, float32 `(n, N)`."""
        batches = inputs.evaluation(split).as_numpy_iterator()
        return np.concatenate([self.teacher.predict(x) for x, _ in batches])

    def accuracy(self, inputs: Inputs, split: str) -> float:
        """Its accuracy on a split, 0..1."""
        return metrics.accuracy(self.logits(inputs, split), inputs.labels(split))


def _is_file(inputs: Inputs) -> bool:
    return Path(inputs.recipe.teacher.model).suffix in (".keras", ".tflite")


def _load(inputs: Inputs, path: Path) -> tuple[teachers.Teacher, keras.Model | None]:
    if path.suffix == ".tflite":
        return teachers.as_teacher(path), None
    model = models.load(path, imports=inputs.imports)
    return teachers.as_teacher(model), model


def check_given(inputs: Inputs) -> None:
    """Checks the recipe's teacher before any work is done.

    Raises:
        InputError: If its file cannot be used, its spec cannot be built, or its classes are not
            the data set's.
    """
    name = inputs.recipe.teacher.model
    if not _is_file(inputs):
        inputs.model(name, _TEACHER_SEED, name="teacher")
        return
    path = Path(name)
    if not path.is_file():
        raise InputError(f"teacher: no file {path}.")
    _check_classes(_load(inputs, path)[0], inputs)


def obtain(inputs: Inputs, folder: RunFolder, reporter: Reporter) -> Taught:
    """Trains the teacher that the recipe names, or takes it from its file."""
    if _is_file(inputs):
        reporter.stage("teacher", inputs.recipe.teacher.model)
        path, curve = _copy(Path(inputs.recipe.teacher.model), folder), None
    else:
        path, curve = _train(inputs, folder, reporter)
    return Taught(path, *_load(inputs, path), curve)


def _check_classes(teacher: teachers.Teacher, inputs: Inputs) -> None:
    x, _ = next(iter(inputs.evaluation("validation").take(1)))
    try:
        logits = teacher.predict(x.numpy()[:2])
    except (ValueError, TypeError) as error:
        # Keras's own message stands below the lines of the traced code.
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if "Error: " in line), lines[0])
        raise InputError(
            f"The teacher cannot take the data: inputs of shape {inputs.splits.input_shape}"
            f" ({reason})."
        ) from error
    if isinstance(logits, dict) or logits.shape != (min(2, len(x)), inputs.splits.num_classes):
        given = "several outputs" if isinstance(logits, dict) else f"shape {logits.shape}"
        raise InputError(
            f"The teacher must give one row of {inputs.splits.num_classes} logits for each example,"
            f" one for each class of {inputs.recipe.data.source}. For 2 it gives {given}."
        )


def _copy(source: Path, folder: RunFolder) -> Path:
    target = folder.path / f"teacher{source.suffix}"
    if not target.exists():
        with _files.atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    return target


def _train(inputs: Inputs, folder: RunFolder, reporter: Reporter) -> tuple[Path, Curve]:
    recipe, training = inputs.recipe, inputs.recipe.teacher_training
    rounds = inputs.rounds(training.epochs, training.batch_size)
    reporter.stage("teacher", f"{recipe.teacher.model}, {training.epochs} epochs")
    model = inputs.model(recipe.teacher.model, _TEACHER_SEED)
    compile_for(model, training, rounds)
    progress = fit_resumable(
        model,
        lambda epoch: data.batches(
            inputs.splits.train,
            training.batch_size,
            shuffle_seed=_TEACHER_SEED,
            epoch=epoch,
            epochs=None,
        ),
        rounds,
        folder.work / "teacher.npz",
        validation_data=inputs.evaluation("validation"),
        report=reporter.track("teacher", rounds.count),
    )
    path = folder.path / "teacher.keras"
    if not path.exists():
        save_plain(model, path)
    return path, curve_of(progress, rounds)


def save_plain(model: keras.Model, path: Path) -> None:
    """Saves architecture and weights; optimizer state of a finished training is of no use."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    plain = keras.saving.deserialize_keras_object(config)
    plain.set_weights(model.get_weights())
    with _files.atomic_path(path, overwrite=True) as temporary:
        plain.save(temporary)


def ask(inputs: Inputs, taught: Taught, folder: RunFolder, reporter: Reporter) -> SoftTargetStore:
    """The store with what the teacher says of the training split, built or found complete."""
    count = inputs.splits.sizes["train"]
    reporter.stage("targets", f"{count} soft targets, stored once")
    path = folder.work / "targets"
    if path.exists():
        return SoftTargetStore.open(path)
    report = reporter.track("teacher", count)
    return SoftTargetStore.build(
        taught.teacher, inputs.splits.train, path, progress=lambda done, total: report(done)
    )
