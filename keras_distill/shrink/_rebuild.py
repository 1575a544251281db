"""Builds the narrower model: layers from edited configs, with slices of the old weights."""

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_distill._internal import InputError
from keras_distill._internal._keras_private import GraphCall, graph_structure, producer
from keras_distill._internal._types import Array
from keras_distill.models import follow, seeded
from keras_distill.shrink._analysis import Analysis
from keras_distill.shrink._depth import Block, Dropped
from keras_distill.shrink._trace import Channels, Slot


@dataclass
class Rebuilt:
    """A model rebuilt from an analyzed model.

    Attributes:
        model: The new model.
        of: Id of an old layer or operation -> (old, new). A shared layer is still shared.
        variables: Id of an old variable -> new variable.
    """

    model: keras.Model
    of: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    variables: dict[int, Any] = field(default_factory=dict)


def rebuild(analysis: Analysis, keep: Array, blocks: Iterable[Block] = ()) -> Rebuilt:
    """Builds a model from the kept units, with their weights.

    Args:
        analysis: The analysis of the model, which is not changed.
        keep: bool `(units,)`.
        blocks: Residual blocks to leave out.

    Returns:
        The new model, not compiled, and the new layer of each old layer.

    Raises:
        InputError: If a layer cannot be rebuilt from its config.
    """
    builder = _Builder(analysis, keep, Dropped(blocks))
    with seeded(0):  # new layers draw seeds; this keeps the caller's random state
        model = builder.model(analysis.model)
    result = Rebuilt(model, builder.of)
    _copy_weights(analysis, keep, result)
    _copy_trainable(result)
    return result


class _Builder:
    def __init__(self, analysis: Analysis, keep: Array, dropped: Dropped) -> None:
        self._analysis, self._keep, self._dropped = analysis, keep, dropped
        self.of: dict[int, tuple[Any, Any]] = {}

    def model(self, model: keras.Model, carried: list[Channels] | None = None) -> keras.Model:
        """Rebuilds a model. `carried` are the channels of the inputs of a nested model."""
        inputs = [
            self._input(tensor, None if carried is None else carried[index])
            for index, tensor in enumerate(model.inputs)
        ]
        if isinstance(model, keras.Sequential):
            layers = [self._clone(layer) for layer in model.layers]
            return keras.Sequential([inputs[0], *layers], name=model.name)
        structure, outputs = graph_structure(model)
        made = follow(model, inputs, self._call)
        return keras.Model(
            keras.tree.pack_sequence_as(structure, inputs),
            keras.tree.pack_sequence_as(outputs, made),
            name=model.name,
        )

    def _input(self, tensor: Any, carried: Channels | None) -> keras.KerasTensor:
        layer = producer(tensor)[0]
        config = layer.get_config()
        shape = list(tensor.shape)
        if carried is not None and shape[carried.axis] is not None:
            shape[carried.axis] = self._count(carried.ids)
        made = type(layer).from_config({**config, "batch_shape": tuple(shape)}).output
        made.name = tensor.name  # an unnamed Input has another name than its layer; files have it
        return made

    def _call(self, call: GraphCall, values: dict[int, Any]) -> list[Any]:
        replaced = self._dropped.replaces(call, values)
        if replaced is not None:
            return replaced
        operation = self._clone(call.operation)
        args, kwargs = call.arguments(values)
        try:
            return keras.tree.flatten(operation(*args, **kwargs))
        except (ValueError, TypeError) as error:
            raise _unbuildable(call.operation, error) from error

    def _clone(self, operation: Any) -> Any:
        if id(operation) not in self.of:
            self.of[id(operation)] = operation, self._make(operation)
        return self.of[id(operation)][1]

    def _make(self, operation: Any) -> Any:
        if id(operation) in self._analysis.entered:
            return self.model(operation, self._analysis.nested_inputs[id(operation)])
        edited = self._has_edits(operation)
        if not edited and _is_constant(operation):
            return operation
        try:
            config = operation.get_config()
            _keep_functions(operation, config)
            self._edit(operation, config)
            _drop_build_configs(config)
            return type(operation).from_config(config)
        except Exception as error:  # raised by the layer's class
            raise _unbuildable(operation, error) from error

    def _has_edits(self, operation: Any) -> bool:
        trace = self._analysis.trace
        return id(operation) in trace.edits or id(operation) in trace.wrapped

    def _edit(self, operation: Any, config: dict[str, Any]) -> None:
        for change in self._analysis.trace.edits.get(id(operation), {}).values():
            change(config, self._count)
        for key, inner in self._analysis.trace.wrapped.get(id(operation), ()):
            self._edit(inner, config[key]["config"])

    def _count(self, ids: Array) -> int:
        return self._analysis.count(self._keep, ids)


def _is_constant(operation: Any) -> bool:
    """Whether the new model may use the same object: it has no weights and cannot be rebuilt.

    The config of a Lambda layer contains code, which is not loaded. The content of a lookup table
    is not part of its config.
    """
    if not isinstance(operation, keras.Layer):
        return True  # an operation of keras.ops has no state
    return not operation.weights and (
        isinstance(operation, keras.layers.Lambda) or hasattr(operation, "load_assets")
    )


def _keep_functions(operation: Any, config: dict[str, Any]) -> None:
    """Passes functions on as objects, because the user's functions may not be registered."""
    for key in ("activation", "recurrent_activation"):
        function = getattr(operation, key, None)
        if key in config and inspect.isfunction(function):
            config[key] = function


def _unbuildable(operation: Any, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(
        f"Layer {operation.name!r} ({type(operation).__name__}) cannot be made again from its"
        f" config: {reason:.200}. Give its class a get_config() that returns every argument."
    )


def _drop_build_configs(config: Any) -> None:
    """Removes the build sizes of inner layers, which the config of a wrapper contains."""
    if isinstance(config, dict):
        config.pop("build_config", None)
        config.pop("compile_config", None)
        for value in config.values():
            _drop_build_configs(value)


def _copy_weights(analysis: Analysis, keep: Array, result: Rebuilt) -> None:
    slots: defaultdict[int, list[Slot]] = defaultdict(list)
    for slot in analysis.trace.slots.values():
        slots[id(slot.variable)].append(slot)
    factor = _factors(analysis, keep)
    for old, new in result.of.values():
        if old is new or not isinstance(old, keras.Layer) or id(old) in analysis.entered:
            continue
        for variable, narrower in zip(old.weights, new.weights, strict=True):
            value = np.asarray(variable)
            for slot in slots[id(variable)]:
                value = np.take(value, analysis.kept(keep, slot.ids), axis=slot.axis)
            if tuple(narrower.shape) != value.shape:
                raise InputError(
                    f"Layer {old.name!r} ({type(old).__name__}): {variable.name} is built with"
                    f" shape {tuple(narrower.shape)}, and its kept part has {value.shape}. Its"
                    " handler names a wrong argument or axis."
                )
            narrower.assign(value * np.asarray(factor(variable), value.dtype))
            result.variables[id(variable)] = narrower
        if isinstance(new, keras.layers.Normalization):
            new.finalize_state()  # `call` uses copies of mean and variance


def _factors(analysis: Analysis, keep: Array) -> Callable[[Any], float]:
    factors = {
        id(variable): float(np.sqrt(analysis.count(keep, ids) / len(ids)))
        for variable, ids in analysis.trace.rescaled
    }
    return lambda variable: factors.get(id(variable), 1.0)


def _copy_trainable(result: Rebuilt) -> None:
    """Copies `trainable`, outer models first, because setting it also sets it for inner layers."""
    for old, new in reversed(result.of.values()):
        if isinstance(old, keras.Layer) and old.trainable != new.trainable:
            new.trainable = old.trainable
