"""The fake-quantized model, which computes with the rounding of int8 and can be trained."""

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
from keras_distill.records import FakeQuantRecord
from keras_distill.work import TrainingState

_BATCH = 128
_VARIABLES = "variables.npz"
_FUNCTIONS = {"softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}


class FakeQuantModel:
    """A fake-quantized student, as returned by `quantize_aware` and accepted for more training.

    It is stored as a folder with the Keras 3 student from which it was built (`student.keras`), all
    variables (`variables.npz`), and `fake_quant.json`. Nothing is pickled.

    Args:
        student: The Keras 3 model to quantize; it is not changed.
        preserve: Whether pruned kernels keep their zeros and clustered kernels their values.

    Attributes:
        student: A copy of that student.
        network: The tf_keras model with fake quantization; its outputs are logits.
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
        self.network = quantized(twin, preserve=self.preserve)
        self._kinds = objective.kinds()
        self._names = objective.names
        self._inputs = input_names(student)

    @property
    def scheme(self) -> str:
        """What is preserved: nothing ("QAT"), zeros ("PQAT"), clusters ("CQAT"), both ("PCQAT")."""
        found = [kernel_of(layer) for _, layer in models.walk_layers(self.student)]
        found = [kernel for kernel in found if kernel is not None and self.preserve]
        pruned = any(is_pruned(kernel) for kernel in found)
        clustered = any(is_clustered(kernel) for kernel in found)
        return f"{'P' * pruned}{'C' * clustered}QAT"

    def call(self, x: Any) -> list[Any]:
        """Returns the flat outputs of a batch in inference mode, with the student's activations."""
        logits = tf.nest.flatten(self.network(flat_inputs(x, self._inputs), training=False))
        pairs = zip(self._kinds, logits, strict=True)
        return [_FUNCTIONS[kind](z) if kind else z for kind, z in pairs]

    def predict(self, x: Any, batch_size: int = _BATCH) -> np.ndarray | dict[str, np.ndarray]:
        """Returns the outputs for arrays; for several outputs, a dict by name."""
        rows = len(tf.nest.flatten(x)[0])
        parts = [
            self.call(tf.nest.map_structure(lambda a, s=start: a[s : s + batch_size], x))
            for start in range(0, rows, batch_size)
        ]
        outputs = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return outputs[0] if len(outputs) == 1 else dict(zip(self._names, outputs, strict=True))

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Writes the folder atomically and returns its path."""
        with _files.atomic_path(path, overwrite=overwrite, folder=True) as folder:
            folder.mkdir()
            models.save(self.student, folder / "student.keras")
            TrainingState(folder / _VARIABLES).save(self.network.weights, {})
            record = FakeQuantRecord(preserve=self.preserve, scheme=self.scheme)
            record.save(folder / "fake_quant.json")
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "FakeQuantModel":
        """Loads a folder that `save` wrote.

        Raises:
            InputError: If the path is not such a folder, or is damaged.
        """
        path = Path(path)
        record = FakeQuantRecord.load(path / "fake_quant.json")
        made = cls(models.load(path / "student.keras"), preserve=record.preserve)
        if TrainingState(path / _VARIABLES).restore(made.network.weights) is None:
            raise InputError(f"{path} has no {_VARIABLES}. Train the fake-quantized model again.")
        return made


class FakeQuantSource(KerasSource):
    """Presents a fake-quantized model to the exporter, under the names of its student.

    Args:
        model: The model.
    """

    def __init__(self, model: FakeQuantModel) -> None:
        super().__init__(model.student)
        self._model = model

    def call(self, *flat: Any) -> dict[str, Any]:
        """Returns the outputs of a batch by name; takes flat inputs."""
        return dict(zip(self.outputs, self._model.call(list(flat)), strict=True))

    def save(self, folder: Path, batch_size: int | None) -> None:
        """Writes a SavedModel with the student's input and output names."""
        signature = [
            tf.TensorSpec((batch_size, *i.shape[1:]), i.dtype, name=i.name) for i in self.inputs
        ]
        function = tf.function(self.call, input_signature=signature)
        module = tf.Module()
        module.network = self._model.network
        tf.saved_model.save(module, str(folder), {SIGNATURE: function})

    @property
    def fingerprint(self) -> str:
        """SHA-256 of settings and weights; see `models.fingerprint`."""
        return models.fingerprint(self._model.network)
