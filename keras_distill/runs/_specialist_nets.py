"""Whole nets of a study of specialists: trained, trained on, or distilled, each as a job."""

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_distill import data, models
from keras_distill._internal import _files
from keras_distill.data import Splits
from keras_distill.data._augment import Augmentation
from keras_distill.data._batching import read_ahead
from keras_distill.records._specialists_study import BackPart, NetResult, NetTraining
from keras_distill.runs._variants import compile_for
from keras_distill.specialists import SpecialistEnsemble
from keras_distill.specialists._training import cached_splits
from keras_distill.targets import SoftTargetStore
from keras_distill.teachers import Teacher, as_teacher
from keras_distill.training import Distiller
from keras_distill.work import Progress, Rounds, fit_resumable

_EVALUATION_BATCH = 256


def splits_of(source: str, data_dir: str | None) -> Splits:
    """The data set; jobs that run in turn share it with the specialists' jobs."""
    return cached_splits(source, data_dir)[0]


def net_job(
    *,
    source: str,
    data_dir: str | None,
    start: str,
    net: dict[str, Any],
    seed: int,
    out: str,
    steps: int | None = None,
    teacher: str | None = None,
    back: dict[str, Any] | None = None,
    checksums: list[str],
) -> dict[str, Any]:
    """Trains a net from a spec, or from a `.keras` file on; with a teacher, distils it.

    Killed in the middle, it goes on at the last epoch; its state stands beside `out`, under a name
    that other arguments do not share.

    Args:
        source: A data spec.
        data_dir: Folder of prepared TFDS data sets.
        start: A model spec, or the `.keras` file whose weights to start from.
        net: Of `NetTraining`.
        seed: Of initial weights and order of data.
        out: The `.keras` file to write.
        steps: Training steps in all, in place of what the epochs come to.
        teacher: A `.keras` file or the folder of a `SpecialistEnsemble`; None: labels alone.
        back: Of `BackPart`; beside a teacher.
        checksums: Of the files used, so that other files make another job.

    Returns:
        A `NetResult` as plain values.
    """
    asked_for = [source, start, net, seed, steps, teacher, back, checksums]
    key = hashlib.sha256(json.dumps(asked_for).encode()).hexdigest()[:12]
    work = Path(out).with_name(f"{Path(out).stem}-{key}.unfinished")
    splits = splits_of(source, data_dir)
    settings = NetTraining(**net)
    model = models.build(
        start,
        input_shape=splits.input_shape,
        num_classes=splits.num_classes,
        rescale=data.statistics(splits.train),
        seed=seed,
    )
    rounds = _rounds(settings, splits, steps)
    store = None
    # Lists, for a Sequential model out of a file has no `input`.
    trainer = keras.Model(model.inputs[0], model.outputs[0])
    if teacher is not None:
        asked = BackPart(**(back or {}))
        store = _ask(_load(teacher), splits, asked, work / "targets")
        trainer = Distiller(None, model, alpha=asked.alpha, temperature=asked.temperature)
    compile_for(trainer, settings.training, rounds)
    progress = fit_resumable(
        trainer,
        lambda epoch: _batches(splits, settings, seed, epoch, rounds, store),
        rounds,
        work / "state.npz",
        validation_data=splits.validation.batch(_EVALUATION_BATCH),
    )
    with _files.atomic_path(out, overwrite=True) as temporary:
        model.save(temporary)
    shutil.rmtree(work)
    return _result(model, rounds, progress).model_dump(mode="json")


def _rounds(settings: NetTraining, splits: Splits, steps: int | None) -> Rounds:
    epochs = settings.training.epochs
    if steps is None:
        return Rounds(epochs, math.ceil(splits.sizes["train"] / settings.training.batch_size))
    return Rounds(epochs, max(1, round(steps / epochs)))


def _batches(
    splits: Splits,
    settings: NetTraining,
    seed: int,
    epoch: int,
    rounds: Rounds,
    store: SoftTargetStore | None,
) -> tf.data.Dataset:
    """Batches without end from `epoch` on: the same ones as if it had started from 0."""
    size = settings.training.batch_size
    if store is not None:
        return store.batches(splits.train, size, seed=seed, first_epoch=epoch).repeat()
    stream = data.batches(splits.train.enumerate(), size, shuffle_seed=seed, epochs=None)
    augment = augmentation(settings, seed)

    def finish(number, batch):
        index, (x, y) = batch
        return (x if augment is None else augment.apply(x, index, number)), y

    stream = stream.enumerate().skip(epoch * rounds.steps)
    return read_ahead(stream.map(finish, tf.data.AUTOTUNE))


def augmentation(settings: NetTraining, seed: int) -> Augmentation | None:
    """The crops and flips that the settings ask for."""
    if not (settings.crop or settings.flip):
        return None
    return Augmentation(crop=settings.crop, flip=settings.flip, seed=seed)


def _ask(teacher: Teacher, splits: Splits, asked: BackPart, path: Path) -> SoftTargetStore:
    if path.exists():
        return SoftTargetStore.open(path)
    augment = augmentation(asked.net, seed=0)
    views = 1 if augment is None else asked.views
    return SoftTargetStore.build(
        teacher, splits.train, path, views=views, augment=augment, progress=False
    )


def _load(teacher: str) -> Teacher:
    return SpecialistEnsemble.load(teacher) if Path(teacher).is_dir() else as_teacher(teacher)


def _result(model: keras.Model, rounds: Rounds, progress: Progress) -> NetResult:
    return NetResult(
        parameters=model.count_params(),
        steps=rounds.count * rounds.steps_per_round,
        seconds=progress.seconds,
        validation_accuracy=progress.logs["val_accuracy"][-1],
        loss=tuple(progress.logs["loss"]),
    )
