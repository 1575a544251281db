"""Distills a generalist and its specialists back into one model."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_distill import data, models
from keras_distill._internal import InputError, _files
from keras_distill._internal._progress import Reporter
from keras_distill.records import (
    DistillationResult,
    KerasTrainingSettings,
    SpecialistsRecipe,
    TrainingSettings,
)
from keras_distill.specialists._ensemble import GENERALIST, SpecialistEnsemble
from keras_distill.specialists._training import RECIPE, augmentation, cached_splits
from keras_distill.targets import SoftTargetStore
from keras_distill.teachers import Teacher, as_teacher
from keras_distill.training import Distiller, compile_classifier
from keras_distill.work import Rounds, WorkFolder, fit_resumable

_EVALUATION_BATCH = 256
_TRAINING = KerasTrainingSettings(epochs=15)


def distill(
    ensemble: Any,
    out: str | os.PathLike,
    *,
    student: str | os.PathLike | None = None,
    source: str | None = None,
    data_dir: str | os.PathLike | None = None,
    training: TrainingSettings = _TRAINING,
    alpha: float = 0.9,
    temperature: float = 2.0,
    crop: int = 0,
    flip: bool = False,
    views: int = 4,
    seed: int = 0,
    targets: str | os.PathLike | None = None,
    imports: Sequence[str] = (),
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> DistillationResult:
    """Distills a generalist and its specialists into one model and saves it at `out`.

    The ensemble runs once on the training split. Its logits are stored, and the student trains on
    them. Unfinished work is kept next to `out`, in `<stem>-distillation.unfinished`. The same call
    resumes it; the result is the same as without the interruption.

    Args:
        ensemble: A folder that `train` wrote, or anything `teachers.as_teacher` accepts.
        out: The `.keras` file to write.
        student: A model spec, or a `.keras` file with the initial weights. If None, the generalist
            in the folder.
        source: A data spec. If None, that of the recipe in the folder.
        data_dir: Folder of prepared TFDS data sets. If None, that of the recipe in the folder.
        training: Epochs, batch size, optimizer, precision.
        alpha: Weight of the soft targets, 0..1.
        temperature: Temperature of the soft targets, > 0.
        crop: Maximum shift of training images, in pixels.
        flip: Whether to mirror half of the training images.
        views: Number of augmented views in the store, with `crop` or `flip`.
        seed: Seed of the initial weights and of the order of the data.
        targets: The folder of the soft-target store, which is created if it does not exist. An
            existing store of this ensemble and these views is reused, so that the ensemble runs
            only once for several students. With `overwrite`, any other store is replaced. If None,
            a temporary store is used.
        imports: Modules that register custom layers.
        overwrite: Whether to replace an existing `out` and unfinished work with other settings.
        reporter: Receives the progress.

    Returns:
        Steps, seconds, accuracy, and losses of the training.

    Raises:
        InputError: If an argument is not valid, or the folder does not contain specialists.
    """
    out = _files.check_output(out, overwrite=overwrite)
    if out.suffix != ".keras":
        raise InputError(f"`out` must end in .keras. Received: {out}")
    if isinstance(ensemble, str | os.PathLike) and Path(ensemble).is_dir():
        recipe = recipe_of(ensemble, source=source, data_dir=data_dir)
        source, data_dir = recipe.source, recipe.data_dir
        teacher: Teacher = SpecialistEnsemble.load(ensemble, imports=imports)
        student = Path(ensemble, GENERALIST) if student is None else student
    else:
        teacher = as_teacher(ensemble)
    if student is None or source is None:
        raise InputError(
            "`student` and `source` must be given unless `ensemble` is a folder of specialists."
            f" Received: {student!r} and {source!r}"
        )
    start = Path(student)
    if not isinstance(training, KerasTrainingSettings):
        training = KerasTrainingSettings(**training.model_dump())
    settings = {
        "teacher": teacher.fingerprint(),
        "student": _files.sha256(start) if start.is_file() else str(student),
        "source": source,
        "training": training.model_dump(mode="json"),
        **{"alpha": alpha, "temperature": temperature, "crop": crop, "flip": flip},
        **{"views": views, "seed": seed},
    }
    # The result is a file, so the work folder is removed instead of renamed.
    work = out.with_name(f"{out.stem}-distillation")
    with WorkFolder(work, settings, overwrite=overwrite, what="distillation") as folder:
        splits, _ = cached_splits(source, None if data_dir is None else str(data_dir))
        model = models.build(
            student,
            input_shape=splits.input_shape,
            num_classes=splits.num_classes,
            rescale=data.statistics(splits.train),
            seed=seed,
            imports=imports,
        )
        with models.seeded(seed):
            trained = models.trained_as(model, training.precision)
        distiller = Distiller(None, trained, alpha=alpha, temperature=temperature)
        augment = augmentation(crop, flip, seed=0)
        reporter = reporter or Reporter()
        path = folder.scratch / "targets" if targets is None else Path(targets)
        store = SoftTargetStore.build(
            teacher,
            splits.train,
            path,
            views=1 if augment is None else views,
            augment=augment,
            overwrite=overwrite,
            reuse=True,
            progress=reporter.track("soft targets"),
        )
        state = folder.scratch / "state.npz"
        result = _fit(distiller, splits, store, training, seed, state, reporter)
        models.copy_weights(trained, model)
        models.save(model, out, overwrite=True)
        folder.discard()
    return result


def recipe_of(
    folder: str | os.PathLike,
    *,
    source: str | None = None,
    data_dir: str | os.PathLike | None = None,
) -> SpecialistsRecipe:
    """Reads the recipe in a folder of specialists, and replaces its data if other data is given.

    Args:
        folder: A folder that `train` wrote.
        source: A data spec. If None, that of the recipe.
        data_dir: Folder of prepared TFDS data sets. If None, that of the recipe.

    Raises:
        InputError: If the folder has no recipe.
    """
    path = Path(folder) / RECIPE
    if not path.is_file():
        raise InputError(f"{folder} is not a folder of trained specialists: it has no {RECIPE}.")
    changes = {"source": source, "data_dir": None if data_dir is None else str(data_dir)}
    given = {key: value for key, value in changes.items() if value is not None}
    return SpecialistsRecipe.load(path).model_copy(update=given)


def _fit(
    distiller: Distiller,
    splits: data.Splits,
    store: SoftTargetStore,
    training: KerasTrainingSettings,
    seed: int,
    state: Path,
    reporter: Reporter,
) -> DistillationResult:
    """Trains the student of the distiller, or resumes its training."""
    student, size = distiller.student, training.batch_size
    rounds = Rounds(training.epochs, math.ceil(splits.sizes["train"] / size))
    compile_classifier(distiller, training, rounds)
    progress = fit_resumable(
        distiller,
        lambda epoch: store.batches(splits.train, size, seed=seed, first_epoch=epoch).repeat(),
        rounds,
        state,
        validation_data=splits.validation.batch(_EVALUATION_BATCH),
        report=reporter.track("training"),
    )
    return DistillationResult(
        parameters=student.count_params(),
        steps=rounds.count * rounds.steps_per_round,
        seconds=progress.seconds,
        validation_accuracy=progress.logs["val_accuracy"][-1],
        loss=tuple(progress.logs["loss"]),
        validation=tuple(progress.logs["val_accuracy"]),
    )
