"""Training specialists: each is a job of its own; together they become an ensemble's folder."""

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
from keras_distill.data import Splits
from keras_distill.data._augment import Augmentation
from keras_distill.data._streams import labels_of
from keras_distill.records import JobRecord
from keras_distill.records._specialists import (
    SpecialistResult,
    SpecialistsRecipe,
    SpecialistTraining,
)
from keras_distill.specialists._clustering import ClassSets, confusable_sets
from keras_distill.specialists._ensemble import GENERALIST, SpecialistEnsemble, write_manifest
from keras_distill.specialists._model import (
    BinnedTeacher,
    add_to_dustbin,
    build_specialist,
    find_head,
)
from keras_distill.specialists._stream import specialist_stream
from keras_distill.teachers import Teacher, as_teacher
from keras_distill.training import Distiller, make_optimizer
from keras_distill.work import Job, job_failures, run_jobs

_EVALUATION_BATCH = 256
_STEPS_PER_EXECUTION = 16
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
    """Makes a specialist of the generalist and trains it on its stream.

    Args:
        generalist: See `build_specialist`. It is not changed.
        train: `(x, y)`, unbatched, finite; y a class id.
        class_ids: S.
        training: How; None: the defaults.
        num_classes: N.
        seed: Of the order of the data, and of the generalist's dropout masks.
        labels: int `(n,)`: the labels of `train` where they are at hand.

    Returns:
        The specialist, its dustbin corrected, not compiled; and what is to be kept on record.

    Raises:
        InputError: If the generalist, S or the data do not fit together.

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
    augment = None
    if training.crop or training.flip:
        augment = Augmentation(crop=training.crop, flip=training.flip, seed=seed)
    stream = specialist_stream(
        train,
        class_ids,
        num_classes=num_classes,
        share=training.share,
        batch_size=training.batch_size,
        seed=seed,
        augment=augment,
        labels=labels,
    )
    with models.seeded(seed):
        specialist = build_specialist(generalist, class_ids, correction=stream.correction)
    # Of the same layers, so that the specialist itself stays without optimizer.
    trainer = keras.Model(specialist.input, specialist.output)
    if training.alpha > 0:
        teacher = BinnedTeacher(
            generalist, class_ids, num_classes=num_classes, correction=stream.correction
        )
        trainer = Distiller(
            teacher, specialist, alpha=training.alpha, temperature=training.temperature
        )
    steps = training.epochs * stream.steps_per_epoch
    trainer.compile(
        make_optimizer(training, steps),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=min(
            training.steps_per_execution or _STEPS_PER_EXECUTION, stream.steps_per_epoch
        ),
    )
    history = trainer.fit(
        stream.batches,
        epochs=training.epochs,
        steps_per_epoch=stream.steps_per_epoch,
        shuffle=False,
        verbose=0,
    )
    add_to_dustbin(specialist, stream.correction)
    result = SpecialistResult(
        class_ids=tuple(int(i) for i in class_ids),
        seed=seed,
        steps=steps,
        correction=stream.correction,
        loss=tuple(float(value) for value in history.history["loss"]),
    )
    return specialist, result


@functools.lru_cache(maxsize=1)
def cached_splits(source: str, data_dir: str | None) -> tuple[Splits, np.ndarray]:
    """Splits and training labels: jobs that run in turn share them."""
    splits = data.load(source, data_dir=data_dir)
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
    """`train_specialist` as a job: everything by name, the result in file `out`.

    Args:
        generalist: A `.keras` file.
        generalist_sha256: Its checksum, so that another generalist makes another job.
        source: A data spec.
        data_dir: Folder of prepared TFDS data sets.
        class_ids: S.
        training: Of `SpecialistTraining`.
        seed: Of the order of the data.
        out: The `.keras` file to write.
        imports: Modules that register the generalist's custom layers.

    Returns:
        A `SpecialistResult` as plain values.
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
    with _files.atomic_path(out, overwrite=True) as temporary:
        specialist.save(temporary)
    return result.model_dump(mode="json")


def jobs_for(
    generalist: str | os.PathLike,
    recipe: SpecialistsRecipe,
    class_sets: ClassSets,
    folder: str | os.PathLike,
    *,
    prefix: str = "specialist",
    imports: Sequence[str] = (),
) -> list[Job]:
    """One job per set; each writes `<folder>/<prefix>-<m>.keras`.

    Args:
        generalist: The `.keras` file.
        recipe: Data, training and seed.
        class_sets: The sets.
        folder: Where the models go.
        prefix: Of the jobs' names.
        imports: Modules that register the generalist's custom layers.
    """
    checksum = _files.sha256(generalist)
    return [
        Job(
            f"{prefix}-{m:02d}",
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
                "generalist": str(Path(generalist).resolve()),
                "data_dir": recipe.data_dir,
                "out": str((Path(folder) / f"{prefix}-{m:02d}.keras").resolve()),
            },
        )
        for m, ids in enumerate(class_sets.sets)
    ]


def train(
    recipe: SpecialistsRecipe,
    out: str | os.PathLike,
    *,
    backend: str = "in-turn",
    workers: int = 1,
    overwrite: bool = False,
    imports: Sequence[str] = (),
    report: Callable[[JobRecord, bool], None] = lambda record, kept: None,
) -> SpecialistEnsemble:
    """Clusters the classes, trains a specialist for each set, and saves the ensemble at `out`.

    Work stands in `<out>.unfinished` until all of it is done; the same call goes on there.

    Args:
        recipe: What to do.
        out: The folder to make; see `SpecialistEnsemble.save`. It also gets `recipe.toml`.
        backend: See `run_jobs`: in-turn, processes, ray.
        workers: Specialists trained at a time.
        overwrite: Whether an existing `out` may be replaced.
        imports: Modules that register the generalist's custom layers.
        report: Called as each specialist's job ends.

    Raises:
        InputError: If the recipe does not fit the data or the generalist.
        VerificationError: If a specialist could not be trained. The others are kept.
    """
    out = _files.check_output(out, overwrite=overwrite)
    splits, _ = cached_splits(recipe.source, recipe.data_dir)
    generalist = _checked_generalist(recipe, splits, imports)
    work = out.with_name(out.name + ".unfinished")
    parts = work / "parts"
    probs = _predictions(generalist, splits.validation, recipe.cluster_temperature)
    class_sets = confusable_sets(
        probs, recipe.clusters, size=recipe.size, even=recipe.even, seed=recipe.cluster_seed
    )
    jobs = jobs_for(recipe.generalist, recipe, class_sets, parts, imports=imports)
    records = run_jobs(jobs, work / "jobs", backend=backend, workers=workers, report=report)
    if failed := job_failures(records):
        raise VerificationError(
            f"{len(failed)} of {len(jobs)} specialists failed; the others are kept, and the same"
            f" command trains the missing ones. {'; '.join(failed)}"
        )
    corrections = [record.result["correction"] for record in records]
    with _files.atomic_path(out, overwrite=overwrite) as folder:
        folder.mkdir()
        shutil.copyfile(recipe.generalist, folder / GENERALIST)
        files = [folder / f"{job.name}.keras" for job in jobs]
        for file in files:
            shutil.copyfile(parts / file.name, file)
        write_manifest(folder, files, class_sets, recipe.top, corrections)
        # TOML has no None; where all classes count, all specialists answer too.
        top = splits.num_classes if recipe.top is None else recipe.top
        recipe.model_copy(update={"top": top}).save(folder / "recipe.toml")
    shutil.rmtree(work)
    return SpecialistEnsemble.load(out, imports=imports)


def _checked_generalist(
    recipe: SpecialistsRecipe, splits: Splits, imports: Sequence[str]
) -> keras.Model:
    """The generalist, if it fits the data and the recipe: a mistake shows before any training."""
    path, classes = Path(recipe.generalist), splits.num_classes
    generalist = models.load(path, imports=imports)
    find_head(generalist)
    models.check_fits(generalist, path, splits.input_shape, classes)
    if recipe.top is not None and recipe.top > classes:
        raise bad("top", f"be at most the number of classes, {classes}", recipe.top)
    return generalist


def _predictions(
    generalist: keras.Model, examples: tf.data.Dataset, temperature: float
) -> np.ndarray:
    logits = logits_on(as_teacher(generalist), examples)
    return np.asarray(tf.nn.softmax(logits / temperature))


def logits_on(teacher: Teacher, examples: tf.data.Dataset) -> np.ndarray:
    """A teacher's logits on unbatched `(x, y)`, float32 `(n, N)`."""
    batches = examples.map(lambda x, y: x).batch(_EVALUATION_BATCH).as_numpy_iterator()
    return np.concatenate([teacher.predict(x) for x in batches])
