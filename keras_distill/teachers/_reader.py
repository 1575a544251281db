"""Reads logits and inner layers' outputs of a Keras model in one pass, without changing it."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal import _keras_private as private
from keras_distill._internal._probabilities import look_like_probabilities
from keras_distill._internal._types import Outputs, Shape
from keras_distill.teachers import _graph
from keras_distill.teachers._heads import (
    Head,
    check_heads,
    find_heads,
    logits_of,
    symbolic_outputs,
)
from keras_distill.teachers._outputs import ONLY, match_outputs, outputs_by_name


class ModelReader:
    """Reads the logits and layer outputs of a Keras model that teachers and losses need.

    This is a plain object, so that Keras does not track the model and layers in it.

    Args:
        model: Any Keras model.
        role: "teacher" or "student", for errors.
        layers: Names of layers that will be read.

    Attributes:
        names: The outputs' names in order; None for a model that is not Functional.
        heads: The head of each output by name; of a model without a graph one, named "".

    Raises:
        InputError: If a head cannot be undone, or a layer does not exist.
    """

    def __init__(self, model: keras.Model, role: str, layers: Sequence[str] = ()) -> None:
        self.model = model
        self.role = role
        self.names = list(model.output_names) if isinstance(model, keras.Function) else None
        heads = find_heads(model)
        check_heads(role, heads)
        self.heads: dict[str, Head] = outputs_by_name(heads, self.names)
        self._seen: dict[str, Head] = {}
        self._layers = {name: _graph.find_layer(model, name, role) for name in layers}

    def call(
        self, x: Any, layers: Sequence[str] = (), training: bool | None = False
    ) -> tuple[Any, Outputs]:
        """Calls the model once.

        Args:
            x: Its inputs.
            layers: Names of layers to read.
            training: As in Keras.

        Returns:
            The outputs as the model structures them, and the layers' outputs by layer name.
        """
        if not layers:
            return self.model(x, training=training), {}
        found = [self._layer(name) for name in layers]
        outputs, features = _graph.run(self.model, x, found, training)
        return outputs, dict(zip(layers, features, strict=True))

    def by_name(self, outputs: Any) -> Outputs:
        """Returns the model's outputs by name."""
        return outputs_by_name(outputs, self.names)

    def logits(self, outputs: Outputs) -> Outputs:
        """Returns the logits behind outputs by name."""
        for name, output in outputs.items():
            self._see(name, output)
        return {n: logits_of(y, self.head(n), self.role) for n, y in outputs.items()}

    def head(self, name: str) -> Head:
        """Returns the head of an output, from the graph or from an earlier batch."""
        return self._seen.get(name) or self.heads.get(name) or self.heads[ONLY]

    def _see(self, name: str, output: Any) -> None:
        """Stores the head that an output shows, for a model whose graph does not show it."""
        head = self.head(name)
        if head.kind not in ("unknown", "removed") or private.activation_input(output) is None:
            return
        if tf.is_symbolic_tensor(output):
            kind = "sigmoid" if output.shape[-1] == 1 else "removed"
        else:
            kind = "softmax" if look_like_probabilities(output) else "sigmoid"
        self._seen[name] = Head(kind, head.layer)

    def compiled_losses(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns the hard losses by output name that the model was compiled with itself."""
        loss = self.model.loss if getattr(self.model, "compiled", False) else None
        return match_outputs(loss, names)

    def symbolic(self) -> Outputs | None:
        """Returns the symbolic outputs by name; None for a model without a graph."""
        outputs = symbolic_outputs(self.model)
        return None if outputs is None else self.by_name(outputs)

    def structured_outputs(self, x: Any) -> Any:
        """Returns the outputs as the model structures them, symbolic or of one batch.

        Args:
            x: A batch, for a model without a graph.
        """
        outputs = symbolic_outputs(self.model)
        return self.model(x, training=False) if outputs is None else outputs

    def input_shapes(self) -> list[Shape] | None:
        """Returns the shapes `(None, ...)` of the inputs; None for a model without a graph."""
        if symbolic_outputs(self.model) is None:
            return None
        return [tuple(tensor.shape) for tensor in self.model.inputs]

    def feature_shape(self, layer: str) -> Shape:
        """Returns the shape `(None, ...)` of a layer's output.

        Raises:
            InputError: If the layer does not exist.
        """
        return _graph.layer_shape(self._layer(layer))

    def layer_weights(self, layer: str) -> list[tf.Tensor]:
        """Returns the weights of a layer, in the order of Keras.

        Raises:
            InputError: If the layer does not exist.
        """
        return [tf.convert_to_tensor(weight.value) for weight in self._layer(layer).weights]

    @property
    def needs_check(self) -> bool:
        """Whether the graph does not show the head of some output."""
        return any(head.kind == "unknown" for head in self.heads.values())

    def check(self, x: Any, logits: Outputs) -> None:
        """Rejects a student's outputs if they are probabilities and the graph does not show it.

        An untrained student may return small logits > 0. Such a student is therefore called again
        with large inputs: probabilities stay in 0..1, logits do not.

        Args:
            x: A batch of inputs.
            logits: What should be logits of it, by output name.

        Raises:
            InputError: If every row of such an output sums to 1, or all values stay in 0..1.
        """
        for name, values in logits.items():
            head = self.head(name)
            if head.kind != "unknown":
                continue
            if look_like_probabilities(values) or self._stays_in_unit_interval(x, name, values):
                raise InputError(
                    f"The {self.role}'s outputs, of {head.layer!r}, look like probabilities, not"
                    " logits. Use keras.activations.softmax or sigmoid at its end, or return"
                    " logits."
                )

    def _stays_in_unit_interval(self, x: Any, name: str, values: Any) -> bool:
        inputs = [tf.convert_to_tensor(part) for part in keras.tree.flatten(x) if part is not None]
        if not all(part.dtype.is_floating for part in inputs) or not _in_unit_interval(values):
            return False
        for factor in (1e3, -1e3):
            scaled = keras.tree.map_structure(
                lambda part, f=factor: None if part is None else part * f, x, none_is_leaf=True
            )
            outputs, _ = self.call(scaled)
            if not _in_unit_interval(self.by_name(outputs)[name]):
                return False
        return True

    def _layer(self, name: str) -> keras.Layer:
        return self._layers.get(name) or _graph.find_layer(self.model, name, self.role)


def _in_unit_interval(values: Any) -> bool:
    values = np.asarray(values)
    return bool(values.size and values.min() >= 0 and values.max() <= 1)
