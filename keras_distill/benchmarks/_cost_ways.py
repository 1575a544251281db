"""The ways to train one student, set up to be timed step by step in one process."""

import functools
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill import models
from keras_distill.data import read_ahead
from keras_distill.targets import SoftTargetStore
from keras_distill.teachers import Teacher, as_teacher, find_heads
from keras_distill.training._distiller import Distiller

WAYS = ("plain", "store", "online", "keras")
TEMPERATURE, ALPHA = 4.0, 0.9


class Ways:
    """A student in four copies: trained alone, from the store, online, by keras.distillation.

    All have the same optimizer, loss, batches and reading of data.

    Args:
        folder: Holds `data.npz`, `student.keras` and `teacher.keras` or `teacher.tflite`.
        batch_size: Examples per step.
        imports: Modules that register custom layers.
    """

    def __init__(self, folder: Path, batch_size: int, imports: tuple[str, ...] = ()):
        self._folder, self._batch_size, self._imports = folder, batch_size, imports
        with np.load(folder / "data.npz", allow_pickle=False) as data:
            self._x, self._y = data["x"], data["y"]
        self._data = tf.data.Dataset.from_tensor_slices((self._x, self._y))
        self._teacher = self._load_teacher()
        self._store: SoftTargetStore | None = None
        self._ready: dict[str, tuple[keras.Model, tf.data.Dataset]] = {}
        self._steps: dict[str, Callable[[], float]] = {}

    @functools.cached_property
    def _reader(self) -> Teacher:
        """One for every build: like `predict`, it traces its graph the first time only."""
        return as_teacher(self._teacher)

    def _load_teacher(self) -> Any:
        path = self._folder / "teacher.tflite"
        return path if path.exists() else self._load("teacher")

    def _load(self, name: str) -> keras.Model:
        return models.load(self._folder / f"{name}.keras", imports=self._imports)

    def available(self) -> list[str]:
        """The ways that this teacher allows: keras.distillation needs a Keras model."""
        return [way for way in WAYS if way != "keras" or isinstance(self._teacher, keras.Model)]

    def build(self) -> float:
        """Builds the store anew; returns the seconds it took."""
        path = self._folder / f"store-{time.monotonic_ns()}"
        begun = time.perf_counter()
        # Logits of a deep net that was never trained can be beyond float16.
        store = SoftTargetStore.build(
            self._reader,
            self._data,
            path,
            batch_size=self._batch_size,
            dtype="float32",
            progress=False,
        )
        seconds = time.perf_counter() - begun
        if self._store is not None:
            shutil.rmtree(path)
        else:
            self._store = store
        return seconds

    def predict(self) -> float:
        """Seconds that `teacher.predict` takes on the same data, read in the same way."""
        data = read_ahead(self._data.map(lambda x, y: x).batch(self._batch_size))
        teacher = self._teacher
        begun = time.perf_counter()
        if isinstance(teacher, keras.Model):
            teacher.predict(data, verbose=0)  # pyright: ignore[reportArgumentType]
        else:
            for x in data.as_numpy_iterator():
                self._reader.predict(x)
        return time.perf_counter() - begun

    def epoch(self, way: str) -> float:
        """Seconds of one epoch of `fit`; the first one of a way traces its graph."""
        trainer, data = self._way(way)
        begun = time.perf_counter()
        trainer.fit(data, epochs=1, verbose=0)  # pyright: ignore[reportArgumentType]
        return time.perf_counter() - begun

    def step(self, way: str) -> float:
        """Milliseconds of one step: read a batch, train on it, have the loss."""
        if way not in self._steps:
            trainer, data = self._way(way)
            iterator = iter(data.repeat())
            function: Any = trainer.make_train_function() or trainer.train_function
            self._steps[way] = lambda: float(function(iterator)["loss"])
        begun = time.perf_counter()
        self._steps[way]()
        return 1e3 * (time.perf_counter() - begun)

    def _way(self, way: str) -> tuple[keras.Model, tf.data.Dataset]:
        if way not in self._ready:
            trainer = self._trainer(way)
            from_logits = getattr(find_heads(self._load("student")), "kind", "") != "softmax"
            trainer.compile(
                keras.optimizers.SGD(0.01, momentum=0.9),
                keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits),
            )
            self._ready[way] = trainer, self._batches(way)
        return self._ready[way]

    def _batches(self, way: str) -> tf.data.Dataset:
        if way == "store":
            if self._store is None:
                self.build()
            assert self._store is not None
            return self._store.batches(self._data, self._batch_size, drop_remainder=True)
        data = self._data.shuffle(len(self._x), seed=0)
        return read_ahead(data.batch(self._batch_size, drop_remainder=True))

    def _trainer(self, way: str) -> keras.Model:
        student = self._load("student")
        if way == "plain":
            return student
        if way == "store":
            return Distiller(None, student, alpha=ALPHA, temperature=TEMPERATURE)
        if way == "online":
            return Distiller(self._teacher, student, alpha=ALPHA, temperature=TEMPERATURE)
        # An object for the loss: its name would resolve to a function that skips the softmax.
        divergence: Any = keras.losses.KLDivergence()
        loss = keras.distillation.LogitsDistillation(TEMPERATURE, divergence)
        return keras.distillation.Distiller(
            self._load("teacher"), student, loss, student_loss_weight=1 - ALPHA
        )
