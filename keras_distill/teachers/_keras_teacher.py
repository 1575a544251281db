"""A Keras model as a teacher."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill._internal._probabilities import Declared
from keras_distill._internal._types import Outputs, Shape
from keras_distill.teachers._base import Teacher
from keras_distill.teachers._heads import Head
from keras_distill.teachers._outputs import plain_outputs, to_numpy
from keras_distill.teachers._reader import ModelReader


class KerasTeacher(Teacher):
    """A Keras model whose logits are read in inference mode. The model is never changed.

    Args:
        model: Any built Keras 3 model. A softmax or sigmoid at its end is removed exactly.
        from_probabilities: Whether a model without a graph gives probabilities; see `as_teacher`.

    Raises:
        InputError: If the model is not built, or ends in probabilities that cannot be undone.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "softmax")])
        >>> KerasTeacher(model).predict(np.zeros((4, 2), "float32")).tolist()[0]
        [0.0, 0.0, 0.0]
    """

    def __init__(self, model: keras.Model, *, from_probabilities: Declared = None) -> None:
        if not model.built:
            raise InputError(
                f"Teacher {model.name!r} is not built, so it cannot have been trained. Train it,"
                " load its weights, or call it once."
            )
        self.model = model
        self.name = model.name
        self._reader = ModelReader(model, "teacher")
        self.heads = self._reader.heads
        self.from_probabilities = self.declared(from_probabilities).from_probabilities
        self.compiled_losses = self._reader.compiled_losses(list(self.heads))
        self._function = tf.function(lambda x: self.outputs(x)[0], reduce_retracing=True)

    @property
    def output_shapes(self) -> dict[str, Shape] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Shapes `(None, ..., N)` by output name; None for a model without a graph."""
        outputs = self._reader.symbolic()
        if outputs is None:
            return None
        return {name: tuple(tensor.shape) for name, tensor in outputs.items()}

    @property
    def input_shapes(self) -> list[Shape] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Shapes `(None, ...)` of the inputs; None for a model without a graph."""
        return self._reader.input_shapes()

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Outputs, Outputs]:
        """Computes logits and inner layers' outputs; see `Teacher.outputs`."""
        result, features = self._reader.call(x, layers)
        return self._reader.logits(self._reader.by_name(result)), features

    def feature_shape(self, layer: str) -> Shape:
        """Returns the shape `(None, ...)` of an inner layer's output."""
        return self._reader.feature_shape(layer)

    def layer_weights(self, layer: str) -> list[tf.Tensor]:
        """Returns the weights of an inner layer."""
        return self._reader.layer_weights(layer)

    def predict(self, x: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Returns the logits of a NumPy batch as float32 NumPy, by name for several outputs.

        Raises:
            InputError: If a model without a graph returns what looks like probabilities.
        """
        found = self._function(keras.tree.map_structure(tf.convert_to_tensor, x))
        return plain_outputs(to_numpy(self._as_checked_logits(found)))

    def choice(self, name: str) -> str:
        """Returns Python code that makes a model of one of the outputs of `teacher`."""
        shapes = self.output_shapes
        if shapes is None:
            return super().choice(name)
        place = name if isinstance(self.model.output, Mapping) else list(shapes).index(name)
        return f"keras.Model(teacher.inputs, teacher.output[{place!r}])"

    def head(self, name: str) -> Head | None:
        """Returns the head of an output; of a model without a graph once a batch has shown it."""
        return self._reader.head(name)

    def fingerprint(self) -> str:
        """Returns the SHA-256 of settings and weights; see `models.fingerprint`."""
        return models.fingerprint(self.model)
