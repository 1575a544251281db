"""A Keras model as a teacher."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill._checks import InputError
from keras_distill.teachers import graph
from keras_distill.teachers.base import Teacher, named, to_numpy
from keras_distill.teachers.heads import (
    UNKNOWN,
    Head,
    check_heads,
    find_heads,
    logits_of,
    look_like_probabilities,
    symbolic_outputs,
)

_NAMING = ("name", "inbound_nodes", "input_layers", "output_layers", "build_config", "module")


class KerasTeacher(Teacher):
    """A Keras model, whose logits are read in inference mode. The model is never changed.

    Args:
        model: Any Keras 3 model. A softmax or sigmoid at its end is taken off.

    Raises:
        InputError: If the model ends in probabilities that cannot be undone to logits.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "softmax")])
        >>> KerasTeacher(model).predict(np.zeros((4, 2), "float32")).tolist()[0]
        [0.0, 0.0, 0.0]
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.name = model.name
        self._heads = find_heads_by_output(model, "teacher")
        self._function = tf.function(self.logits, reduce_retracing=True)

    @property
    def output_shapes(self) -> Any:
        """Shapes `(None, ..., N)` in place of each output, None for a model without a graph."""
        outputs = symbolic_outputs(self.model)
        if outputs is None:
            return None
        shapes = {k: tuple(t.shape) for k, t in as_dict(self._named(outputs)).items()}
        return shapes if isinstance(self._named(outputs), dict) else shapes[""]

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Any, dict[str, Any]]:
        """Logits and inner layers' outputs; see `Teacher.outputs`."""
        if layers:
            found = [graph.find_layer(self.model, name, "teacher") for name in layers]
            result, features = graph.run(self.model, x, found, training=False)
        else:
            result, features = self.model(x, training=False), []
        return self._logits(result), dict(zip(layers, features, strict=True))

    def feature_shape(self, layer: str) -> tuple:
        """The shape `(None, ...)` of an inner layer's output."""
        return graph.layer_shape(graph.find_layer(self.model, layer, "teacher"))

    def predict(self, x: Any) -> np.ndarray | dict[str, np.ndarray]:
        """The logits of a NumPy batch as float32 NumPy.

        Raises:
            InputError: If a model without a graph gives what looks like probabilities.
        """
        logits = self._function(keras.tree.map_structure(tf.convert_to_tensor, x))
        self.check_values(logits)
        return to_numpy(logits)

    def check_values(self, logits: Any) -> None:
        """Refuses probabilities where the graph did not show whether the output is logits.

        Args:
            logits: What `logits` gave for a batch.

        Raises:
            InputError: If every row is >= 0 and sums to 1.
        """
        for name, value in as_dict(logits).items():
            head = self._head(name)
            if head.kind == "unknown" and look_like_probabilities(value):
                raise InputError(
                    f"The teacher's output of layer {head.layer!r} looks like probabilities, not"
                    " logits. Use keras.activations.softmax for its softmax, or return logits."
                )

    def fingerprint(self) -> str:
        """sha256 of the layers' settings, names apart, and of all weights in order."""
        digest = hashlib.sha256()
        try:
            config = _without_names(self.model.get_config())
        except NotImplementedError:
            config = type(self.model).__name__
        digest.update(json.dumps(config, sort_keys=True, default=str).encode())
        for weight in self.model.weights:
            array = np.ascontiguousarray(weight.numpy())
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def _head(self, name: str) -> Head:
        heads = self._heads
        return heads.get(name, UNKNOWN) if isinstance(heads, dict) else heads

    def _named(self, outputs: Any) -> Any:
        return named(outputs, output_names(self.model))

    def _logits(self, outputs: Any) -> Any:
        outputs = self._named(outputs)
        if isinstance(outputs, dict):
            return {k: logits_of(v, self._head(k), "teacher") for k, v in outputs.items()}
        return logits_of(outputs, self._head(""), "teacher")


def as_dict(outputs: Any) -> dict[str, Any]:
    """`{"": outputs}` for a single output, a dict as it is."""
    return outputs if isinstance(outputs, dict) else {"": outputs}


def output_names(model: keras.Model) -> list[str] | None:
    """The names of a Functional model's outputs, in order, None for any other model."""
    return list(model.output_names) if isinstance(model, keras.Function) else None


def find_heads_by_output(model: keras.Model, role: str) -> Any:
    """The head of a model's output, or a dict of heads by output name.

    Args:
        model: Any Keras model.
        role: "teacher" or "student", for the error.

    Raises:
        InputError: If one cannot be undone.
    """
    heads = find_heads(model)
    check_heads(role, heads)
    return named(heads, output_names(model))


def _without_names(config: Any) -> Any:
    if isinstance(config, dict):
        return {k: _without_names(v) for k, v in config.items() if k not in _NAMING}
    if isinstance(config, list | tuple):
        return [_without_names(v) for v in config]
    return config
