"""The fake-quantized model: it computes with int8's rounding, and goes on training."""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill import models
from keras_distill._internal import InputError, _files
from keras_distill.compress import _bridge
from keras_distill.compress._fit import flat_inputs, input_names
from keras_distill.compress._kernels import kernel_of
from keras_distill.compress._objective import Objective
from keras_distill.compress._wrapping import is_clustered, is_pruned, quantized
from keras_distill.export import SIGNATURE, KerasSource
from keras_distill.records._compress import FakeQuantRecord

_BATCH = 128
_FUNCTIONS = {"softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}


class FakeQuantModel:
    """A student in fake quantization, as `quantize_aware` gives and takes it.

    On disk it is a folder: the Keras 3 student it started from (`student.keras`), all variables
    (`variables.npz`) and `fake_quant.json`. Nothing in it is pickled.

    Args:
        student: The Keras 3 model to start from; it is not changed.
        preserve: Whether pruned kernels keep their zeros and clustered ones their few values.

    Attributes:
        student: A copy of the student it started from.
        net: The tf_keras model with fake quantization; its outputs are logits.
        preserve: As given.

    Raises:
        InputError: If a layer cannot be trained in fake quantization.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> FakeQuantModel(model).predict(np.ones((2, 4), "float32")).shape
        (2, 3)
    """

    def __init__(self, student: keras.Model, *, preserve: bool = True) -> None:
        objective = Objective(student, alpha=0)
        self.student = _bridge.clone_with_weights(student)
        self.preserve = bool(preserve)
        twin = _bridge.to_logits(student, objective.heads, split=True)
        self.net = quantized(twin, preserve=self.preserve)
        self._kinds = objective.kinds()
        self._names = objective.names
        self._inputs = input_names(student)

    @property
    def scheme(self) -> str:
        """What is kept: "QAT" nothing, "PQAT" zeros, "CQAT" clusters, "PCQAT" both."""
        found = [kernel_of(layer) for _, layer in models.walk_layers(self.student)]
        found = [kernel for kernel in found if kernel is not None and self.preserve]
        pruned = any(is_pruned(kernel) for kernel in found)
        clustered = any(is_clustered(kernel) for kernel in found)
        return f"{'P' * pruned}{'C' * clustered}QAT"

    def call(self, x: Any) -> list[Any]:
        """The outputs of a batch in inference, as the student gives them, flat."""
        logits = tf.nest.flatten(self.net(flat_inputs(x, self._inputs), training=False))
        pairs = zip(self._kinds, logits, strict=True)
        return [_FUNCTIONS[kind](z) if kind else z for kind, z in pairs]

    def predict(self, x: Any, batch_size: int = _BATCH) -> np.ndarray | dict[str, np.ndarray]:
        """The outputs on arrays, or a dict of them by output name."""
        rows = len(tf.nest.flatten(x)[0])
        parts = [
            self.call(tf.nest.map_structure(lambda a, s=start: a[s : s + batch_size], x))
            for start in range(0, rows, batch_size)
        ]
        outputs = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return outputs[0] if len(outputs) == 1 else dict(zip(self._names, outputs, strict=True))

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Writes the folder, atomically; returns its path."""
        with _files.atomic_path(path, overwrite=overwrite) as folder:
            folder.mkdir()
            self.student.save(folder / "student.keras")
            arrays = {f"v{i}": v.numpy() for i, v in enumerate(self.net.weights)}
            np.savez(folder / "variables.npz", **arrays)
            record = FakeQuantRecord(preserve=self.preserve, scheme=self.scheme)
            record.save(folder / "fake_quant.json")
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "FakeQuantModel":
        """Reads what `save` wrote.

        Raises:
            InputError: If the folder is not one, or is damaged.
        """
        path = Path(path)
        record = FakeQuantRecord.load(path / "fake_quant.json")
        made = cls(models.load(path / "student.keras"), preserve=record.preserve)
        weights = made.net.weights
        try:
            with np.load(path / "variables.npz", allow_pickle=False) as file:
                values = [file[f"v{i}"] for i in range(len(weights))]
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise InputError(f"{path}: variables.npz is damaged ({error}).") from error
        if [v.shape for v in values] != [tuple(w.shape) for w in weights]:
            raise InputError(f"{path}: variables.npz is of another model.")
        for weight, value in zip(weights, values, strict=True):
            weight.assign(value)
        return made


class FakeQuantSource(KerasSource):
    """The fake-quantized model as the exporter sees it, by the names of its student.

    Args:
        model: The model.
    """

    def __init__(self, model: FakeQuantModel) -> None:
        super().__init__(model.student)
        self._model = model

    def call(self, *flat: Any) -> dict[str, Any]:
        """The outputs of a batch by name; inputs flat."""
        return dict(zip(self.outputs, self._model.call(list(flat)), strict=True))

    def save(self, folder: Path, batch_size: int | None) -> None:
        """Writes a SavedModel with the student's input and output names."""
        signature = [
            tf.TensorSpec((batch_size, *i.shape[1:]), i.dtype, name=i.name) for i in self.inputs
        ]
        function = tf.function(self.call, input_signature=signature)
        module = tf.Module()
        module.net = self._model.net
        tf.saved_model.save(module, str(folder), {SIGNATURE: function})

    @property
    def fingerprint(self) -> str:
        """SHA-256 of settings and weights; see `models.fingerprint`."""
        return models.fingerprint(self._model.net)
