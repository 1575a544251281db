"""Times 16 small students stacked in one graph against the same students trained one after another.

    python examples/studies/sweep-cost/stacked.py

All stacked students are rows of the same variables; each has an alpha and a temperature of its own.
Both ways take steps of Adam on one batch that stays in memory, so no data are read. First, both
take twenty steps and must arrive at the same weights.
Writes `records/stacked.json`.
"""

import json
import os
import tempfile
import time
from pathlib import Path

from keras_distill import Distiller, SoftTargetStore, models  # before TensorFlow: oneDNN is on

# isort: split
import keras
import numpy as np
import tensorflow as tf

from keras_distill.training import Adjustable, StackedStudents

COUNT, STEPS, TURNS, BATCH = 16, 400, 3, 128
STUDENTS = ("mlp:16", "mlp:64", "mlp:256")
TEMPERATURES = np.geomspace(1, 8, COUNT).astype("float32")
ALPHAS = np.linspace(0.3, 0.9, COUNT).astype("float32")


def batch_of():
    """Returns a batch of random images with labels and a teacher's logits, as from a store."""
    random = np.random.default_rng(0)
    x = random.normal(size=(BATCH, 28, 28, 1)).astype("float32")
    examples = tf.data.Dataset.from_tensor_slices((x, random.integers(0, 10, BATCH)))
    logits = random.normal(size=(BATCH, 10)).astype("float32") * 3
    with tempfile.TemporaryDirectory() as folder:
        store = SoftTargetStore.build(logits, examples, Path(folder) / "store")
        return next(iter(store.batches(examples, BATCH, seed=0)))


class InTurn:
    """One student, trained by `fit` as in a sweep, whose students share a compiled step."""

    def __init__(self, spec, batch, i=0):
        student = models.build(spec, input_shape=(28, 28, 1), num_classes=10, seed=0)
        self.trainer = Distiller(
            None, student, alpha=float(ALPHAS[i]), temperature=float(TEMPERATURES[i])
        )
        self.trainer.compile(keras.optimizers.Adam(1e-3), steps_per_execution=20)
        self.batches = tf.data.Dataset.from_tensors(batch).repeat()
        self.student = student

    def train(self, steps):
        self.trainer.fit(self.batches, epochs=1, steps_per_epoch=steps, verbose=0)


class Stacked:
    """All students in one graph, as a sweep trains them."""

    def __init__(self, spec, batch):
        knobs = {"alpha": Adjustable(0.5), "temperature": Adjustable(1.0)}
        self.student = models.build(spec, input_shape=(28, 28, 1), num_classes=10, seed=0)
        distiller = Distiller(None, self.student, **knobs)
        distiller.compile(
            keras.optimizers.Adam(1e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=20,
        )
        values = [
            {"alpha": float(a), "temperature": float(t)}
            for a, t in zip(ALPHAS, TEMPERATURES, strict=True)
        ]
        first = [variable.numpy() for variable in self.student.variables]
        self.trainer = StackedStudents(distiller, knobs, COUNT)
        self.trainer.start(values, first)
        self.batches = tf.data.Dataset.from_tensors(batch).repeat()

    def train(self, steps):
        self.trainer.fit(self.batches, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0)


def check(spec, batch):
    """Both ways must arrive at the same weights."""
    stacked = Stacked(spec, batch)
    stacked.train(20)
    for i in (0, COUNT - 1):
        single = InTurn(spec, batch, i)
        single.train(20)
        stacked.trainer.copy_to(stacked.student, i)
        for mine, other in zip(stacked.student.weights, single.student.weights, strict=True):
            np.testing.assert_allclose(mine.numpy(), other.numpy(), atol=1e-5)


def measure(spec, batch):
    """Returns the milliseconds of a step of one student: in turn, and stacked, by turns."""
    ways = {"in_turn": (InTurn(spec, batch), 1), "stacked": (Stacked(spec, batch), COUNT)}
    found = {name: [] for name in ways}
    for way, _ in ways.values():
        way.train(STEPS)  # traces, and warms up
    for _ in range(TURNS):
        for name, (way, students) in ways.items():
            start = time.perf_counter()
            way.train(STEPS)
            found[name].append(1000 * (time.perf_counter() - start) / STEPS / students)
    return found


def table(record):
    """Returns the measurements as a Markdown table."""
    lines = [
        "| student | in turn, ms per step | 16 stacked, ms per step of one | stacked / in turn |",
        "| --- | --- | --- | --- |",
    ]
    for spec, times in record["students"].items():
        single, stacked = (float(np.median(times[name])) for name in ("in_turn", "stacked"))
        lines.append(f"| `{spec}` | {single:.2f} | {stacked:.2f} | **{stacked / single:.2f}** |")
    return "\n".join(lines) + "\n"


def main():
    """Runs from the command line."""
    batch, students = batch_of(), {}
    for spec in STUDENTS:
        check(spec, batch)
        students[spec] = measure(spec, batch)
        print(spec, students[spec], flush=True)
    record = {"count": COUNT, "batch_size": BATCH, "cores": os.cpu_count(), "students": students}
    path = Path(__file__).parent / "records" / "stacked.json"
    path.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
