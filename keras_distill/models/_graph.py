"""Walks the graph of a Functional or Sequential model, call by call.

`follow` is the only function that walks over Keras operations. The caller decides which values are
propagated: tensors, symbolic tensors of another model, or information on each tensor.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
import numpy as np

from keras_distill._internal import _keras_private
from keras_distill._internal._keras_private import GraphCall
from keras_distill._internal._types import Array

V = TypeVar("V")


def has_graph(model: Any) -> bool:
    """Returns whether a layer is a model whose `call` runs a known graph.

    Args:
        model: Any layer or operation.

    Example:
        >>> has_graph(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        True
        >>> has_graph(keras.layers.Dense(1))
        False
    """
    if _keras_private.runs_its_graph(model):
        return True
    built = isinstance(model, keras.Sequential) and model.built and bool(model.layers)
    return built and type(model).call is keras.Sequential.call


def follow(
    model: keras.Model,
    inputs: Sequence[V],
    visit: Callable[[GraphCall, dict[int, V]], Sequence[V]],
) -> list[V]:
    """Propagates values along the tensors of a model's graph.

    Args:
        model: A model for which `has_graph` is true.
        inputs: One value for each of `model.inputs`.
        visit: A function that is called for each call of the graph, in order of execution. It takes
            the call and the values so far, by the id of their symbolic tensor, and returns one
            value for each output of the call. A nested model is one call; to enter it, call
            `follow` again.

    Returns:
        One value for each of `model.outputs`.

    Example:
        >>> layers = [keras.layers.Dense(1), keras.layers.ReLU()]
        >>> model = keras.Sequential([keras.Input((2,)), *layers])
        >>> follow(model, [0], lambda call, values: [values[id(call.inputs[0])] + 1])
        [2]
    """
    values = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
    for call in _keras_private.graph_calls(model):
        if all(id(tensor) in values for tensor in call.inputs):
            results = visit(call, values)
            values |= {id(t): value for t, value in zip(call.outputs, results, strict=True)}
    return [values[id(tensor)] for tensor in model.outputs]


def random_inputs(model: keras.Model, rows: int = 2, seed: int = 0) -> Any:
    """Draws random inputs in the structure that a model takes.

    Floats are drawn from N(0, 1), integers are 0 or 1, and strings are "a". Unknown sizes become 8.

    Args:
        model: A model with known inputs.
        rows: The number of examples, unless the model has a fixed number.
        seed: Seed of the generator.

    Example:
        >>> random_inputs(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])).shape
        (2, 3)
    """
    generator = np.random.default_rng(seed)

    def draw(tensor: Any) -> Array:
        shape = [rows, *[n or 8 for n in tensor.shape[1:]]]
        if tensor.shape[0] is not None:
            shape[0] = tensor.shape[0]
        dtype = str(tensor.dtype)
        if dtype == "string":
            return np.full(shape, "a")
        if "float" in dtype:
            return generator.standard_normal(shape).astype(dtype)
        return generator.integers(0, 2, shape).astype(dtype)

    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.tree.map_structure(draw, structure)
