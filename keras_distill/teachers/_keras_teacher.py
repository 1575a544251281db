"""A Keras model as a teacher."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill.teachers import _graph
from keras_distill.teachers._base import Teacher, map_outputs, named, to_numpy
from keras_distill.teachers._heads import (
    Head,
    check_heads,
    find_heads,
    logits_of,
    look_like_probabilities,
    symbolic_outputs,
)


class KerasTeacher(Teacher):
    """A Keras model, whose logits are read in inference mode. The model is never changed.

    Args:
        model: Any built Keras 3 model. A softmax or sigmoid at its end is taken off.

    Raises:
        InputError: If the model is not built, or ends in probabilities that cannot be undone.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "softmax")])
        >>> KerasTeacher(model).predict(np.zeros((4, 2), "float32")).tolist()[0]
        [0.0, 0.0, 0.0]
    """

    def __init__(self, model: keras.Model) -> None:
        if not model.built:
            raise InputError(
                f"Teacher {model.name!r} is not built, so it cannot have been trained. Train it,"
                " load its weights, or call it once."
            )
        self.model = model
        self.name = model.name
        self.heads = heads_by_output(model, "teacher")
        self._function = tf.function(self.logits, reduce_retracing=True)

    @property
    def output_shapes(self) -> Any:
        """Shapes `(None, ..., N)` in place of each output, None for a model without a graph."""
        outputs = symbolic_outputs(self.model)
        if outputs is None:
            return None
        return map_outputs(lambda t: tuple(t.shape), named(outputs, output_names(self.model)))

    @property
    def input_shapes(self) -> list[tuple] | None:
        """Shapes `(None, ...)` of the inputs, None for a model without a graph."""
        if symbolic_outputs(self.model) is None:
            return None
        return [tuple(t.shape) for t in self.model.inputs]

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Any, dict[str, Any]]:
        """Logits and inner layers' outputs; see `Teacher.outputs`."""
        if layers:
            found = [_graph.find_layer(self.model, name, "teacher") for name in layers]
            result, features = _graph.run(self.model, x, found, training=False)
        else:
            result, features = self.model(x, training=False), []
        result = named(result, output_names(self.model))
        logits = map_outputs(lambda y, head: logits_of(y, head, "teacher"), result, self.heads)
        return logits, dict(zip(layers, features, strict=True))

    def feature_shape(self, layer: str) -> tuple:
        """The shape `(None, ...)` of an inner layer's output."""
        return _graph.layer_shape(_graph.find_layer(self.model, layer, "teacher"))

    def predict(self, x: Any) -> np.ndarray | dict[str, np.ndarray]:
        """The logits of a NumPy batch as float32 NumPy.

        Raises:
            InputError: If a model without a graph gives what looks like probabilities.
        """
        logits = self._function(keras.tree.map_structure(tf.convert_to_tensor, x))
        check_values("teacher", self.heads, logits)
        return to_numpy(logits)

    @property
    def uncertain(self) -> bool:
        """Whether the graph does not show what stands at the end."""
        return not heads_known(self.heads)

    def look(self, x: Any) -> Any:
        """The logits of a batch; see `Teacher.look`. A head that the graph shows is not doubted."""
        logits = self.logits(x)
        check_values("teacher", self.heads, logits)
        return logits

    def fingerprint(self) -> str:
        """sha256 of the layers' settings, names apart, and of all weights in order."""
        return models.fingerprint(self.model)


def output_names(model: keras.Model) -> list[str] | None:
    """The names of a Functional model's outputs, in order, None for any other model."""
    return list(model.output_names) if isinstance(model, keras.Function) else None


def heads_by_output(model: keras.Model, role: str) -> Any:
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


def heads_known(heads: Any) -> bool:
    """Whether the graph showed what stands at the end of every output."""
    return all(head.kind != "unknown" for head in keras.tree.flatten(heads))


def check_values(role: str, heads: Any, logits: Any) -> None:
    """Refuses probabilities from a head that the graph does not show.

    Args:
        role: "teacher" or "student", for the error.
        heads: From `heads_by_output`.
        logits: A batch of what is taken for logits, in the same structure.

    Raises:
        InputError: If every row of such an output is >= 0 and sums to 1.
    """

    def check(value: Any, head: Head) -> None:
        if head.kind == "unknown" and look_like_probabilities(value):
            raise InputError(
                f"The {role}'s outputs, of {head.layer!r}, look like probabilities, not logits. Use"
                " keras.activations.softmax for its softmax, or return logits."
            )

    map_outputs(check, logits, heads)
