"""Trains specialists, each as an independent job, and saves them as an ensemble folder."""

import functools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill import data, models
from keras_distill._internal import VerificationError, _files, bad
from keras_distill._internal._fused_normalization import fused_batch_normalization
from keras_distill.data import Augmentation, Splits, labels_of
from keras_distill.records import (
    JobRecord,
    SpecialistResult,
    SpecialistsRecipe,
    SpecialistTraining,
)
from keras_distill.specialists._build import (
    BinnedTeacher,
    add_to_dustbin,
    build_specialist,
    find_head,
)
from keras_distill.specialists._class_sets import ClassSets, confusable_sets
from keras_distill.specialists._ensemble import GENERALIST, SpecialistEnsemble, write_manifest
from keras_distill.specialists._stream import specialist_stream
from keras_distill.teachers import Teacher, as_teacher
from keras_distill.training import Distiller, make_optimizer
from keras_distill.work import (
    Job,
    WorkFolder,
    job_failures,
    run_jobs,
    settle,
    steps_per_execution,
)

RECIPE = "recipe.toml"
_EVALUATION_BATCH = 256
_JOB = "keras_distill.specialists._training:specialist_job"


def train_specialist(
    generalist: keras.Model,
    train: tf.data.Dataset,
    class_ids: Sequence[int],
    training: SpecialistTraining | None = None,
    *,
    num_classes: int,
    seed: int = 0,
    labels: np.ndarray | None = None,
) -> tuple[keras.Model, SpecialistResult]:
    """Builds a specialist from the generalist and trains it on the stream of its classes.

    Args:
        generalist: See `build_specialist`. It is not changed.
        train: `(x, y)`, unbatched, finite; y is a class id.
        class_ids: The specialist's classes S.
        training: Training settings. If None, the defaults.
        num_classes: Number of classes N.
        seed: Seed for the order of the data and for the generalist's dropout masks.
        labels: int `(n,)`: the labels of `train`, if known.

    Returns:
        The specialist with a corrected dustbin, not compiled, and the record of its training.

    Raises:
        InputError: If the generalist, S, and the data do not match.

    Example:
        >>> generalist = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
        >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
        >>> train = tf.data.Dataset.from_tensor_slices((x, np.arange(64) % 4))
        >>> training = SpecialistTraining(epochs=1, batch_size=16)
        >>> _, result = train_specialist(generalist, train, [0, 3], training, num_classes=4)
        >>> result.steps, result.correction
        (4, 0.0)
    """
    training = training or SpecialistTraining()
    stream = specialist_stream(
        train,
        class_ids,
        num_classes=num_classes,
        share=training.share,
        batch_size=training.batch_size,
        seed=seed,
        augment=augmentation(training.crop, training.flip, seed),
        labels=labels,
    )
    with models.seeded(seed):
        specialist = build_specialist(generalist, class_ids, correction=stream.correction)
        student = models.trained_as(specialist, training.precision)
    trainer = student
    if student is specialist:  # train another model of the same layers: this one gets no optimizer
        trainer = keras.Model(specialist.input, specialist.output)
    if training.alpha > 0:
        teacher = BinnedTeacher(
            generalist, class_ids, num_classes=num_classes, correction=stream.correction
        )
        trainer = Distiller(
            teacher, student, alpha=training.alpha, temperature=training.temperature
        )
    steps = training.epochs * stream.steps_per_epoch
    trainer.compile(
        make_optimizer(training, steps),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps_per_execution(
            stream.steps_per_epoch, training.steps_per_execution
        ),
    )
    with fused_batch_normalization(trainer):
        history = trainer.fit(
            stream.batches,
            epochs=training.epochs,
            steps_per_epoch=stream.steps_per_epoch,
            shuffle=False,
            verbose=0,  # pyright: ignore[reportArgumentType]
        )
    models.copy_weights(student, specialist)
    add_to_dustbin(specialist, stream.correction)
    result = SpecialistResult(
        class_ids=tuple(int(i) for i in class_ids),
        seed=seed,
        steps=steps,
        correction=stream.correction,
        loss=tuple(float(value) for value in history.history["loss"]),
    )
    return specialist, result


def augmentation(crop: int, flip: bool, seed: int) -> Augmentation | None:
    """Returns the augmentation with these settings, or None if they have no effect."""
    return Augmentation(crop=crop, flip=flip, seed=seed) if crop or flip else None


@functools.lru_cache(maxsize=1)
def cached_splits(source: str, data_dir: str | None) -> tuple[Splits, np.ndarray]:
    """Loads splits and training labels; jobs in the same process share them."""
    splits = data.load(source, data_dir=data_dir)
    splits.need_labels("The training of specialists")
    return splits, labels_of(splits.train)


def specialist_job(
    *,
    generalist: str,
    generalist_sha256: str,
    source: str,
    data_dir: str | None,
    class_ids: list[int],
    training: dict[str, Any],
    seed: int,
    out: str,
    imports: list[str],
) -> dict[str, Any]:
    """Runs `train_specialist` as a job with JSON arguments; writes the model to the file `out`.

    Args:
        generalist: A `.keras` file.
        generalist_sha256: Its checksum. A job with another generalist is another job.
        source: A data spec.
        data_dir: Folder of prepared TFDS data sets.
        class_ids: The specialist's classes.
        training: The fields of `SpecialistTraining`.
        seed: Seed of the order of the data.
        out: The `.keras` file to write.
        imports: Modules that register the generalist's custom layers.

    Returns:
        The fields of a `SpecialistResult`.
    """
    del generalist_sha256
    splits, labels = cached_splits(source, data_dir)
    specialist, result = train_specialist(
        models.load(generalist, imports=imports),
        splits.train,
        class_ids,
        SpecialistTraining(**training),
        num_classes=splits.num_classes,
        seed=seed,
        labels=labels,
    )
    models.save(specialist, out, overwrite=True)
    return result.model_dump(mode="json")


def _jobs(
    recipe: SpecialistsRecipe, class_sets: ClassSets, folder: Path, imports: Sequence[str]
) -> list[Job]:
    """Returns one job per class set. Each writes `<folder>/specialist-<m>.keras`."""
    checksum = _files.sha256(recipe.generalist)
    return [
        Job(
            f"specialist-{m:02d}",
            _JOB,
            {
                "generalist_sha256": checksum,
                "source": recipe.source,
                "class_ids": ids.tolist(),
                "training": recipe.training.model_dump(mode="json"),
                "seed": recipe.seed * 1000 + m,
                "imports": list(imports),
            },
            places={
                "generalist": str(Path(recipe.generalist).resolve()),
                "data_dir": recipe.data_dir,
                "out": str((folder / f"specialist-{m:02d}.keras").resolve()),
            },
        )
        for m, ids in enumerate(class_sets.sets)
    ]


def train(
    recipe: SpecialistsRecipe,
    out: str | os.PathLike,
    *,
    class_sets: ClassSets | None = None,
    backend: str = "in-turn",
    workers: int = 1,
    overwrite: bool = False,
    imports: Sequence[str] = (),
    report: Callable[[JobRecord, bool], None] = lambda record, kept: None,
) -> SpecialistEnsemble:
    """Clusters the classes, trains one specialist per set, and saves the ensemble at `out`.

    Unfinished work is kept in `<out>.unfinished`. The same call resumes it.

    Args:
        recipe: Generalist, data, class sets, and training settings.
        out: The folder to write; see `SpecialistEnsemble.save`. It also gets `recipe.toml`.
        class_sets: Class sets to use instead of clusters of confusable classes.
        backend: How the specialists are trained: in-turn, processes, or ray. See `work.run_jobs`.
        workers: Number of specialists trained at the same time.
        overwrite: Whether to replace an existing `out` and unfinished work of another recipe.
        imports: Modules that register the generalist's custom layers.
        report: Called when the job of a specialist ends, with its record and whether an earlier
            call completed it.

    Raises:
        InputError: If the recipe does not match the data or the generalist, or `out` exists.
        VerificationError: If a specialist could not be trained. The others are kept.
    """
    settle(Path(out))
    _files.check_output(out, overwrite=overwrite)
    splits, _ = cached_splits(recipe.source, recipe.data_dir)
    generalist = _checked_generalist(recipe, splits, imports)
    if class_sets is None:
        class_sets = confusable_sets(
            predictions(generalist, splits.validation, recipe.cluster_temperature),
            recipe.clusters,
            size=recipe.size,
            even=recipe.even,
            seed=recipe.cluster_seed,
        )
    settings = {
        **recipe.model_dump(mode="json", exclude={"generalist", "data_dir"}),
        "generalist_sha256": _files.sha256(recipe.generalist),
        "class_sets": class_sets.lists(),
        "imports": list(imports),
    }
    with WorkFolder(out, settings, overwrite=overwrite, what="training of specialists") as folder:
        jobs = _jobs(recipe, class_sets, folder.path, imports)
        records = run_jobs(
            jobs, folder.scratch / "jobs", backend=backend, workers=workers, report=report
        )
        if failed := job_failures(records):
            raise VerificationError(
                f"{len(failed)} of {len(jobs)} specialists failed; the others are kept. Run the"
                f" same command again to train the missing ones. {'; '.join(failed)}"
            )
        shutil.copyfile(recipe.generalist, folder.path / GENERALIST)
        files = [folder.path / f"{job.name}.keras" for job in jobs]
        corrections = [record.result["correction"] for record in records]
        write_manifest(folder.path, files, class_sets, recipe.top, corrections)
        # TOML has no None. If `top` is the number of classes, all specialists are active.
        top = splits.num_classes if recipe.top is None else recipe.top
        recipe.model_copy(update={"top": top}).save(folder.path / RECIPE, overwrite=True)
        folder.finish()
    return SpecialistEnsemble.load(out, imports=imports)


def _checked_generalist(
    recipe: SpecialistsRecipe, splits: Splits, imports: Sequence[str]
) -> keras.Model:
    """Loads the generalist and checks that it matches data and recipe, before any training."""
    path, classes = Path(recipe.generalist), splits.num_classes
    generalist = models.load(path, imports=imports)
    find_head(generalist)
    models.check_fits(generalist, path, splits.input_shape, classes)
    if recipe.top is not None and recipe.top > classes:
        raise bad("top", f"be at most the number of classes, {classes}", recipe.top)
    if augment := augmentation(recipe.training.crop, recipe.training.flip, seed=0):
        augment.check_shape(splits.input_shape)
    return generalist


def predictions(generalist: Any, examples: tf.data.Dataset, temperature: float = 1.0) -> np.ndarray:
    """Returns the probabilities of a generalist for `confusable_sets`, float32 `(n, N)`.

    Args:
        generalist: Anything `teachers.as_teacher` accepts.
        examples: Unbatched `(x, y)`.
        temperature: Temperature of the softmax.
    """
    logits = logits_on(as_teacher(generalist), examples)
    return np.asarray(tf.nn.softmax(logits / temperature))


def logits_on(teacher: Teacher, examples: tf.data.Dataset) -> np.ndarray:
    """Returns a teacher's logits on unbatched `(x, y)`, float32 `(n, N)`."""
    batches = examples.map(lambda x, y: x).batch(_EVALUATION_BATCH).as_numpy_iterator()
    return np.concatenate([np.asarray(teacher.predict(x)) for x in batches])
