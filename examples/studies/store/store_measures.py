"""Measures the store itself: bytes, reading speed, error of top-k, and the trained student."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy.special import log_softmax

from keras_distill import Distiller, SoftTargetStore, TopK, data, models
from keras_distill.benchmarks import paired_difference, ratio_of_medians
from keras_distill.losses.functional import topk_log_probabilities
from keras_distill.records import Record

TEMPERATURES = (1.0, 2.0, 4.0, 10.0, 20.0)


class Figure(Record):
    """One measured figure with its target.

    Attributes:
        name: What was measured.
        value: The figure.
        low: Lower end of its 95 % interval; None: it has none.
        high: Upper end of the interval.
        n: Number of measurements.
        target: The target.
        reached: Whether the target is reached; None: there is no target.
        note: How it was measured.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 1
    target: str = ""
    reached: bool | None = None
    note: str = ""


def record_bytes(folder: Path) -> list[Figure]:
    """Bytes of records on disk divided by the payload, keys not counted.

    Args:
        folder: Folder for the stores; must be empty or new.
    """
    figures = []
    for classes, top_k in ((100, None), (1000, 20), (1 << 16, 20), (100_000, 20)):
        payload = 2 * classes if top_k is None else (4 if classes <= 1 << 16 else 6) * top_k + 8
        logits = np.random.default_rng(0).normal(size=(64, classes)).astype(np.float32)
        path = folder / f"{classes}-{top_k}"
        store = SoftTargetStore.build(logits, _numbered(64), path, top_k=top_k, progress=False)
        size = sum(file.stat().st_size for file in store.path.glob("view*.bin"))
        ratio = size / (64 * payload)
        kind = "dense" if top_k is None else f"top-{top_k}"
        figures.append(
            Figure(
                name=f"bytes of records / payload, {kind} of {classes} classes",
                value=ratio,
                target="<= 1.02",
                reached=ratio <= 1.02,
                note=f"payload {payload} bytes; keys (8 bytes per example) not counted",
            )
        )
    return figures


def _numbered(count: int) -> tf.data.Dataset:
    x = np.arange(count * 4, dtype=np.float32).reshape(count, 4)
    return tf.data.Dataset.from_tensor_slices((x, np.zeros(count, np.int64)))


def read_path(
    folder: Path, *, examples: int = 20_000, classes: int = 1000, epochs: int = 12
) -> Figure:
    """Records per second of `batches` relative to `from_tensor_slices(...).batch`.

    Args:
        folder: Folder for the store; must be empty or new.
        examples: Number of examples.
        classes: Number of logits per example.
        epochs: Timed passes of each, taking turns, after one that is not timed.
    """
    logits = np.random.default_rng(0).normal(size=(examples, classes)).astype(np.float32)
    plain = _numbered(examples)
    store = SoftTargetStore.build(logits, plain, folder / "store", progress=False)
    x, y = (np.stack(part) for part in zip(*plain.as_numpy_iterator(), strict=True))
    tensors = tf.data.Dataset.from_tensor_slices((x, (y, logits))).batch(128).prefetch(2)
    stored = store.batches(plain, 128, shuffle=False)
    seconds = {"tensors": [], "stored": []}
    starts = []
    for epoch in range(epochs + 1):
        for name, batches in (("tensors", tensors), ("stored", stored)):
            begun = time.perf_counter()
            for _ in batches:
                pass
            if epoch:
                seconds[name].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        next(iter(stored))
        starts.append(time.perf_counter() - begun)
    ratio = ratio_of_medians(seconds["tensors"], seconds["stored"])
    rate = examples / float(np.median(seconds["stored"]))
    return Figure(
        name=f"records per second: batches / from_tensor_slices(...).batch, N={classes}",
        **ratio._asdict(),
        target=">= 0.8",
        reached=ratio.value >= 0.8,
        note=f"{rate:.0f} records per second from the store; starting a pass takes"
        f" {1e3 * np.median(starts):.0f} ms; examples compared in an earlier epoch",
    )


def topk_loss(folder: Path, *, top_k: int = 20, classes: int = 1000) -> list[Figure]:
    """KL error of soft targets from one top-k store at each T, and of a store made at that T.

    The teacher is trained on a mixture of overlapping Gaussians, one per class. A store made
    at T has the k probabilities and the mass of the rest exactly; both spread the rest evenly.

    Args:
        folder: Folder for the stores; must be empty or new.
        top_k: Number of logits stored.
        classes: Number of classes N.
    """
    teacher, held_out = _mixture_teacher(classes)
    kept = SoftTargetStore.build(teacher, held_out, folder / "k", top_k=top_k, progress=False)
    dense = SoftTargetStore.build(teacher, held_out, folder / "d", dtype="float32", progress=False)
    parts = [y.teacher for _, y in kept.batches(held_out, 512, shuffle=False)]
    record = TopK(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    logits = np.concatenate([y.teacher for _, y in dense.batches(held_out, 512, shuffle=False)])
    figures = []
    for temperature in TEMPERATURES:
        one, own, bins = _losses(logits, record, temperature)
        figures.append(
            Figure(
                name=f"KL error in nats of top-{top_k} of {classes}, T={temperature:g}",
                value=one,
                n=len(logits),
                target="as a store made at that T, to 0.001",
                reached=one - own <= 1e-3,
                note=f"a store made at this T: {own:.4f}; over the k classes and the rest as one:"
                f" {bins:.4f}",
            )
        )
    return figures


def _losses(logits: np.ndarray, record: TopK, temperature: float) -> tuple[float, float, float]:
    """Mean KL(teacher || record), the same for a record made at T, and over k+1 outcomes."""
    log_p = log_softmax(logits.astype(np.float64) / temperature, axis=-1)
    classes, k = logits.shape[-1], record.indices.shape[-1]
    exact = np.take_along_axis(log_p, record.indices, axis=-1)
    rest = np.log1p(-np.minimum(np.exp(exact).sum(axis=-1), 1 - 1e-15))
    entropy_of_rest = (np.exp(log_p) * log_p).sum(-1) - (np.exp(exact) * exact).sum(-1)
    own = entropy_of_rest - np.exp(rest) * (rest - np.log(classes - k))
    log_q = topk_log_probabilities(record, classes, temperature).numpy().astype(np.float64)
    truth = np.concatenate([exact, rest[:, None]], axis=-1)
    bins = (np.exp(truth) * (truth - log_q)).sum(axis=-1)
    # By the chain rule: between the bins, and within the rest.
    return float((bins + own).mean()), float(own.mean()), float(bins.mean())


def _mixture_teacher(classes: int) -> tuple[keras.Model, tf.data.Dataset]:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(classes, 32))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        y = rng.integers(0, classes, count)
        return (centers[y] + 0.9 * rng.normal(size=(count, 32))).astype(np.float32), y

    teacher = models.build("mlp:256", input_shape=(32,), num_classes=classes, seed=0)
    teacher.compile(
        keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    teacher.fit(*draw(60_000), batch_size=256, epochs=6, verbose=0)
    return teacher, tf.data.Dataset.from_tensor_slices(draw(2048))


class Curves(NamedTuple):
    """Training curves of the same students, online and from the store.

    Attributes:
        figures: Differences in accuracy and in the losses.
        online: Training loss per epoch, one list per seed.
        stored: The same from the store.
    """

    figures: list[Figure]
    online: list[list[float]]
    stored: list[list[float]]


def same_student(
    folder: Path, *, seeds: Sequence[int] = range(5), epochs: int = 20, views: int = 4
) -> Curves:
    """Trains students on digits with the same seeds and views, online and from the store.

    Args:
        folder: Folder for the store; must be empty or new.
        seeds: Seeds of the initial weights and of the data order.
        epochs: Epochs per student.
        views: Augmented views per example.
    """
    splits = data.load("digits")
    shape = {"input_shape": splits.input_shape, "num_classes": splits.num_classes}
    shape["rescale"] = data.statistics(splits.train)
    teacher = models.build("mlp:256x256", seed=100, **shape)
    augment = data.Augmentation(crop=1)
    moved = [_moved(splits.train, augment, view) for view in range(views)]
    teacher.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    for epoch in range(10):
        teacher.fit(data.batches(moved[epoch % views], 64, shuffle_seed=7, epoch=epoch), verbose=0)
    store = SoftTargetStore.build(
        teacher, splits.train, folder / "store", views=views, augment=augment, progress=False
    )
    curves, accuracies = {"online": [], "stored": []}, {"online": [], "stored": []}
    for seed in seeds:
        for variant in curves:
            batches = store.batches(splits.train, 64, seed=seed)
            if variant == "online":
                batches = batches.map(lambda x, y: (x, y.labels))
            student = models.build("mlp:16", seed=seed, **shape)
            losses, accuracy = _train(
                teacher if variant == "online" else None, student, batches, splits.test, epochs
            )
            curves[variant].append(losses)
            accuracies[variant].append(accuracy)
    return Curves(_same_figures(curves, accuracies), curves["online"], curves["stored"])


def _moved(train: tf.data.Dataset, augment: data.Augmentation, view: int) -> tf.data.Dataset:
    def one(index: tf.Tensor, pair: tuple) -> tuple:
        x, y = pair
        return augment.apply(x[None], index[None], view)[0], y

    return train.enumerate().map(one)


def _train(
    teacher: keras.Model | None,
    student: keras.Model,
    batches: tf.data.Dataset,
    test: tf.data.Dataset,
    epochs: int,
) -> tuple[list[float], float]:
    distiller = Distiller(teacher, student)
    distiller.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = distiller.fit(batches, epochs=epochs, verbose=0).history
    found = distiller.evaluate(test.batch(128), verbose=0, return_dict=True)
    return history["loss"], 100 * found["accuracy"]


def _same_figures(
    curves: dict[str, Iterable[list[float]]], accuracies: dict[str, list[float]]
) -> list[Figure]:
    difference = paired_difference(accuracies["stored"], accuracies["online"])
    spread = float(np.std(accuracies["online"], ddof=1))
    gap = np.abs(np.array(curves["stored"]) / np.array(curves["online"]) - 1).max()
    return [
        Figure(
            name="accuracy of the student, store - online, in points",
            **difference._asdict(),
            target="within the spread of seeds",
            reached=abs(difference.value) <= spread,
            note=f"digits; online {np.mean(accuracies['online']):.2f} %, spread (standard"
            f" deviation) of seeds {spread:.2f}",
        ),
        Figure(
            name="training loss, store / online - 1, largest of all epochs and seeds",
            value=float(gap),
            n=len(accuracies["online"]),
            target="reported",
        ),
    ]
