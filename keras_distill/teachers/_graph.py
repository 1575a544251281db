"""Reads the outputs of a Keras model and of any layer in it, also nested ones, in one pass.

Keras can return the output of a top-level layer through a second `keras.Model` on the same graph,
but not that of a layer inside a nested model, which has its own graph. So this module follows the
graph as `Functional.call` does and records the outputs of the layers to read. No layer is copied,
called twice, or changed.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import keras

from keras_distill._internal import InputError, _keras_private
from keras_distill._internal._keras_private import GraphCall
from keras_distill._internal._types import Shape
from keras_distill.models import follow, walk_layers
from keras_distill.teachers._heads import symbolic_outputs


def find_layer(model: keras.Model, name: str, role: str) -> keras.Layer:
    """Returns the layer of that name, "outer/inner" inside nested models.

    A plain name that no top-level layer has is searched in nested models too, and must be unique.

    Args:
        model: A model with a graph.
        name: The layer's name or path.
        role: "teacher" or "student", for the error.

    Raises:
        InputError: If there is no such layer, or more than one.
    """
    if symbolic_outputs(model) is None:
        raise InputError(
            f"A loss on layer {name!r} needs a built Functional or Sequential {role}. Received:"
            f" {type(model).__name__} {model.name!r}, which has no graph to read layers from."
        )
    paths = list(walk_layers(model, enter=_has_graph, models=True))
    found = [layer for path, layer in paths if path == name]
    found = found or [layer for path, layer in paths if path.rpartition("/")[2] == name]
    if len(found) == 1:
        return found[0]
    if found:
        matches = [path for path, _ in paths if path.rpartition("/")[2] == name]
        raise InputError(
            f"The {role} has {len(found)} layers named {name!r}. Give one of the paths"
            f" {', '.join(matches)}."
        )
    names = ", ".join(path for path, _ in paths)
    raise InputError(f"The {role} has no layer {name!r}. Its layers: {names}.")


def _has_graph(layer: Any) -> bool:
    return symbolic_outputs(layer) is not None


def layer_shape(layer: keras.Layer) -> Shape:
    """Returns the shape `(None, ...)` of a layer's output at its first call."""
    if isinstance(layer, keras.Model):
        return tuple(keras.tree.flatten(symbolic_outputs(layer))[0].shape)
    output: Any = layer.output
    return tuple(output.shape)


def run(
    model: keras.Model, x: Any, layers: Sequence[keras.Layer], training: bool | None = None
) -> tuple[Any, list[Any]]:
    """Calls the model once and records the outputs of some layers.

    Must be called inside another Keras layer's call, or with `training` given, so that every layer
    knows the mode.

    Args:
        model: A model with a graph.
        x: Its inputs.
        layers: Layers in it, at any depth. Of a layer called twice, the first output counts.
        training: Passed to every layer that takes it.

    Returns:
        The model's outputs, and one output per layer of `layers`.
    """
    reading = _Reading({id(layer) for layer in layers})
    outputs = reading.enter(model, x, training)
    return outputs, [reading.seen[id(layer)] for layer in layers]


class _Reading:
    """One pass through a model and the nested models in which there are layers to read.

    Args:
        wanted: The ids of the layers to read.

    Attributes:
        seen: The outputs of these layers, by id.
    """

    def __init__(self, wanted: set[int]) -> None:
        self._wanted = wanted
        self.seen: dict[int, Any] = {}

    def enter(self, model: Any, x: Any, training: bool | None) -> Any:
        """Runs the graph of a model as its `call` does."""

        def visit(call: GraphCall, values: dict[int, Any]) -> list[Any]:
            operation, (args, kwargs) = call.operation, call.arguments(values)
            # As in Keras, a mode given by the caller overrides the one the graph was built with.
            if training is not None and _takes_training(operation):
                kwargs["training"] = training
            if _holds(operation, self._wanted):
                result = self.enter(operation, args[0], kwargs.get("training"))
            else:
                result = operation(*args, **kwargs)
            if id(operation) in self._wanted:
                self.seen.setdefault(id(operation), result)
            return keras.tree.flatten(result)

        flat = follow(model, _keras_private.standardized_inputs(model, x), visit)
        structure = _keras_private.graph_structure(model)[1]
        return flat[0] if len(flat) == 1 else keras.tree.pack_sequence_as(structure, flat)


def _holds(operation: Any, wanted: set[int]) -> bool:
    if not _has_graph(operation):
        return False
    inside = walk_layers(operation, enter=_has_graph, models=True)
    return any(id(layer) in wanted for _, layer in inside)


def _takes_training(operation: Any) -> bool:
    return "training" in inspect.signature(operation.call).parameters
