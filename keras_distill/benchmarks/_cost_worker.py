"""The child process that times the variants of a training, and its interface in the parent process.

Each oneDNN setting has its own child process, because oneDNN is configured when TensorFlow is
imported.
"""

import contextlib
import functools
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from typing_extensions import Self

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill._internal._child import Child, ChildError
from keras_distill._internal._fused_normalization import fused_batch_normalization
from keras_distill.data import read_ahead
from keras_distill.targets import SoftTargetStore
from keras_distill.teachers import Teacher, as_teacher, find_heads
from keras_distill.training import Distiller

SETTINGS = ("onednn", "tf-default")
# Importing keras_distill first enables oneDNN; importing TensorFlow first keeps its default.
_BEFORE = {
    "onednn": "import keras_distill",
    "tf-default": "import warnings; warnings.simplefilter('ignore'); import tensorflow",
}
_SERVICE = "keras_distill.benchmarks._cost_worker:CostService"
USUAL_VARIANTS = ("plain", "store", "online", "keras")
VARIANTS = (*USUAL_VARIANTS, "bfloat16")
_TEMPERATURE, _ALPHA = 4.0, 0.9


def _traced(variant: str, trainer: keras.Model) -> contextlib.AbstractContextManager[None]:
    """Returns the context in which a variant is traced.

    A model that is trained alone uses fused batch normalization, as in a run. A `Distiller` enables
    it itself, and `keras.distillation` does not.
    """
    alone = variant in ("plain", "bfloat16")
    return fused_batch_normalization(trainer) if alone else contextlib.nullcontext()


class CostWorker:
    """The interface of one child process. Leaving the `with` block ends the process.

    Args:
        setting: One of `SETTINGS`.
        folder: See `CostService.prepare`.
        batch_size: Examples per step.
        imports: Modules that register custom layers.

    Attributes:
        variants: The variants that can be timed.

    Raises:
        InputError: If a request fails.
    """

    def __init__(
        self, setting: str, folder: Path, batch_size: int, imports: tuple[str, ...] = ()
    ) -> None:
        self._child = Child(
            _SERVICE, before=_BEFORE[setting], environment={"TF_ENABLE_ONEDNN_OPTS": None}
        )
        try:
            self.variants = self.ask(
                "prepare", folder=str(folder), batch_size=batch_size, imports=list(imports)
            )
        except BaseException:
            self._child.close()
            raise

    def ask(self, method: str, /, **arguments: Any) -> Any:
        """Calls a method of `CostService` in the child."""
        try:
            return self._child.ask(method, **arguments)
        except ChildError as error:
            text = f"The child process that measures failed: {error.reason}."
            if error.lines and not error.raised:
                text += f" End of its log: {error.last_line}"
            raise InputError(text) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._child.close()


class CostService:
    """Runs in the child process: one student in five variants, each timed step by step.

    The variants are: alone, from the store, online, with keras.distillation, and alone in bfloat16.
    All use the same optimizer, loss, batches, and input pipeline.
    """

    def prepare(self, folder: str, batch_size: int, imports: Sequence[str] = ()) -> list[str]:
        """Reads the inputs and returns the variants that can be timed.

        Args:
            folder: Contains `data.npz`, `student.keras`, and `teacher.keras` or `teacher.tflite`.
            batch_size: Examples per step.
            imports: Modules that register custom layers.
        """
        self._folder, self._batch_size, self._imports = Path(folder), batch_size, imports
        with np.load(self._folder / "data.npz", allow_pickle=False) as data:
            self._x, self._y = data["x"], data["y"]
        self._data = tf.data.Dataset.from_tensor_slices((self._x, self._y))
        self._teacher = self._load_teacher()
        self._store: SoftTargetStore | None = None
        self._ready: dict[str, tuple[keras.Model, tf.data.Dataset]] = {}
        self._steps: dict[str, Callable[[], float]] = {}
        # keras.distillation needs a Keras model.
        in_keras = isinstance(self._teacher, keras.Model)
        return [name for name in VARIANTS if name != "keras" or in_keras]

    @functools.cached_property
    def _reader(self) -> Teacher:
        """The teacher of all builds. Like `predict`, it traces its graph only once."""
        return as_teacher(self._teacher)

    def _load_teacher(self) -> Any:
        path = self._folder / "teacher.tflite"
        return path if path.exists() else self._load("teacher")

    def _load(self, name: str) -> keras.Model:
        return models.load(self._folder / f"{name}.keras", imports=self._imports)

    def build(self) -> float:
        """Builds a new store and returns the seconds."""
        path = self._folder / f"store-{time.monotonic_ns()}"
        begun = time.perf_counter()
        # The logits of an untrained deep network can exceed the range of float16.
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
        """Runs `teacher.predict` on the same data and input pipeline, and returns the seconds."""
        data = read_ahead(self._data.map(lambda x, y: x).batch(self._batch_size))
        teacher = self._teacher
        begun = time.perf_counter()
        if isinstance(teacher, keras.Model):
            teacher.predict(data, verbose=0)  # pyright: ignore[reportArgumentType]
        else:
            for x in data.as_numpy_iterator():
                self._reader.predict(x)
        return time.perf_counter() - begun

    def epoch(self, variant: str) -> float:
        """Runs one epoch of `fit` and returns the seconds. The first epoch traces the graph."""
        trainer, data = self._prepared(variant)
        begun = time.perf_counter()
        with _traced(variant, trainer):
            trainer.fit(data, epochs=1, verbose=0)  # pyright: ignore[reportArgumentType]
        return time.perf_counter() - begun

    def step(self, variant: str) -> float:
        """Reads a batch, trains on it, fetches the loss, and returns the milliseconds."""
        trainer, data = self._prepared(variant)
        if variant not in self._steps:
            iterator = iter(data.repeat())
            function: Any = trainer.make_train_function() or trainer.train_function
            self._steps[variant] = lambda: float(function(iterator)["loss"])
        begun = time.perf_counter()
        with _traced(variant, trainer):
            self._steps[variant]()
        return 1e3 * (time.perf_counter() - begun)

    def _prepared(self, variant: str) -> tuple[keras.Model, tf.data.Dataset]:
        if variant not in self._ready:
            trainer = self._trainer(variant)
            from_logits = getattr(find_heads(self._load("student")), "kind", "") != "softmax"
            trainer.compile(
                keras.optimizers.SGD(0.01, momentum=0.9),
                keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits),
            )
            self._ready[variant] = trainer, self._batches(variant)
        return self._ready[variant]

    def _batches(self, variant: str) -> tf.data.Dataset:
        if variant == "store":
            if self._store is None:
                self.build()
            assert self._store is not None
            return self._store.batches(self._data, self._batch_size, drop_remainder=True)
        data = self._data.shuffle(len(self._x), seed=0)
        return read_ahead(data.batch(self._batch_size, drop_remainder=True))

    def _trainer(self, variant: str) -> keras.Model:
        student = self._load("student")
        if variant == "plain":
            return student
        if variant == "bfloat16":
            return models.trained_as(student, "mixed_bfloat16")
        if variant == "store":
            return Distiller(None, student, alpha=_ALPHA, temperature=_TEMPERATURE)
        if variant == "online":
            return Distiller(self._teacher, student, alpha=_ALPHA, temperature=_TEMPERATURE)
        # Use the loss class: the loss name would resolve to a function that skips the softmax.
        divergence: Any = keras.losses.KLDivergence()
        loss = keras.distillation.LogitsDistillation(_TEMPERATURE, divergence)
        return keras.distillation.Distiller(
            self._load("teacher"), student, loss, student_loss_weight=1 - _ALPHA
        )
