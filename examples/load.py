"""Puts the package under load in one process; prints what it costs and what it leaves.

    python examples/load.py --quick        a hundredth of everything, in about a minute
    python examples/load.py                300 exports, 1,000,000 records, 250,000 classes, …

Each part prints its time, the growth of the resident memory per repetition (the slope of a line
through the second half of the measurements), and what is left: open file descriptors and temporary
files. Growth is measured after a garbage collection; TensorFlow itself keeps some of it.
"""

import argparse
import contextlib
import ctypes
import gc
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras_distill as kd  # before TensorFlow, so that oneDNN is turned on

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_distill.targets import SoftTargetStore


class Part(NamedTuple):
    """One part of the load: how it went.

    Attributes:
        name: What was done, and how often.
        seconds: Processor time of this process and of its children that have ended.
        slope: Growth of the resident memory per repetition, in MB; None if it was done once.
        peak: Growth of the resident memory from before the part to its highest point, in MB.
        descriptors: Open file descriptors more than before.
        files: Temporary files more than before.
    """

    name: str
    seconds: float
    slope: float | None
    peak: float
    descriptors: int
    files: int


def status(field: str) -> float:
    """Reads VmRSS or VmHWM of this process, in MB; 0 where /proc does not exist."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def settled_memory() -> float:
    """Collects garbage, gives free memory back, and returns the resident memory in MB."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return status("VmRSS")


def measured(name: str, times: int, work: Callable[[int], object]) -> Part:
    """Calls `work(i)` so many times, and measures."""
    work(0)  # what is done once, such as imports and caches, does not count
    folder, fds = Path(tempfile.gettempdir()), Path("/proc/self/fd")
    count = lambda path: len(list(path.iterdir())) if path.exists() else 0  # noqa: E731
    descriptors, files = count(fds), count(folder)
    first = settled_memory()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # from here on, VmHWM is the peak of the part
    points, start, every = [], sum(os.times()[:4]), max(1, times // 20)
    for i in range(1, times + 1):
        work(i)
        if i % every == 0 or i == times:
            points.append((i, settled_memory()))
            print(f"  {name}: {i} of {times}, {points[-1][1]:.0f} MB", flush=True)
    seconds = sum(os.times()[:4]) - start
    late = points[len(points) // 2 :]
    slope = float(np.polyfit(*zip(*late, strict=True), 1)[0]) if len(late) > 2 else None
    return Part(
        name,
        seconds,
        slope,
        status("VmHWM") - first,
        count(fds) - descriptors,
        count(folder) - files,
    )


def mlp(*units: int, features: int = 16, classes: int = 10) -> keras.Model:
    """Makes a small model."""
    hidden = [keras.layers.Dense(count, "relu") for count in units]
    return keras.Sequential([keras.Input((features,)), *hidden, keras.layers.Dense(classes)])


def exports(times: int, folder: Path) -> Part:
    """Exports a model again and again, each time with a converter of its own."""
    model, x = mlp(16), np.random.default_rng(0).normal(size=(64, 16)).astype("float32")

    def export(i: int) -> None:
        path = folder / f"{i % 2}.tflite"
        record = kd.export_tflite(model, path, data=x, overwrite=True)
        assert record.verification.passed

    return measured(f"{times} exports", times, export)


def records(count: int, folder: Path) -> tuple[Part, Part]:
    """Writes the soft targets of so many examples, and reads them in one epoch."""
    rng = np.random.default_rng(0)
    x, logits = np.arange(count, dtype=np.int32)[:, None], rng.normal(size=(count, 10))
    y = np.zeros(count, np.int64)
    data = tf.data.Dataset.from_tensor_slices((x, y))
    logits = logits.astype(np.float32)
    few = tf.data.Dataset.from_tensor_slices((x[:64], y[:64]))

    def write(i: int) -> None:
        given = (logits, data) if i else (logits[:64], few)
        SoftTargetStore.build(*given, folder / f"store{i}", batch_size=1024, progress=False)

    def read(i: int) -> None:
        seen, largest = 0, 0.0
        store = SoftTargetStore.open(folder / f"store{i}")
        for rows, targets in store.batches(data if i else few, 1024).as_numpy_iterator():
            error = np.abs(targets.teacher - logits[rows[:, 0]]).max()
            seen, largest = seen + len(rows), max(largest, float(error))
        assert seen == (count if i else 64) and largest < 0.01, (seen, largest)

    return measured(f"{count:,} records written", 1, write), measured(
        f"{count:,} records read and compared", 1, read
    )


def classes(count: int, examples: int, folder: Path) -> Part:
    """Stores the top 50 of so many logits, and trains a student of one layer on them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(examples, 16)).astype(np.float32)
    weights = rng.normal(size=(16, count)).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices((x, np.full(examples, -1, np.int64)))

    def train(i: int) -> None:
        store = SoftTargetStore.build(
            lambda rows: rows @ weights, data, folder / f"classes{i}", top_k=50, batch_size=16,
            progress=False,
        )  # fmt: skip
        distiller = kd.Distiller(None, mlp(classes=count), alpha=1.0)
        history = distiller.fit(store.batches(data, 16), epochs=2, verbose=0).history
        assert history["loss"][1] < history["loss"][0], history

    return measured(f"top 50 of {count:,} classes, {examples} examples", 1, train)


def distillers(times: int) -> Part:
    """Makes and fits one Distiller after the other."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 16)).astype("float32"), rng.integers(0, 10, 64)
    teacher = mlp(32)

    def fit(i: int) -> None:
        kd.Distiller(teacher, mlp(8)).fit(x, y, epochs=1, verbose=0)

    return measured(f"{times} Distillers", times, fit)


def main() -> None:
    """Runs every part, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a hundredth of everything")
    parser.add_argument("--exports", type=int, default=300)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=250_000)
    parser.add_argument("--distillers", type=int, default=200)
    parser.add_argument("--record", type=Path, help="file to write the figures to, as JSON")
    given = parser.parse_args()
    share = 100 if given.quick else 1
    with tempfile.TemporaryDirectory(prefix="load-") as name:
        folder, temporary = Path(name), Path(name, "tmp")
        temporary.mkdir()
        tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)  # other programs use the usual one
        parts: list[Part] = []
        for work in (
            lambda: records(given.records // share, folder),
            lambda: [classes(given.classes // share, 64, folder)],
            lambda: [distillers(given.distillers // share)],
            lambda: [exports(given.exports // share, folder)],
        ):
            parts += work()
            if given.record is not None:  # what is measured is kept, whatever comes next
                given.record.write_text(json.dumps([p._asdict() for p in parts], indent=2) + "\n")
    for part in parts:
        slope = "" if part.slope is None else f"{part.slope:+.3f} MB each, "
        print(
            f"{part.name}: {part.seconds:.1f} s of processor time, {slope}"
            f"at most {part.peak:+.0f} MB, {part.descriptors:+d} descriptors,"
            f" {part.files:+d} temporary files"
        )


if __name__ == "__main__":
    main()
