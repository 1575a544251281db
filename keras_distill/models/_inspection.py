"""Lists the layers of a model, and computes the fingerprint of a model."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_distill._internal import _keras_private

_ENTRIES = 1 << 26  # the most numbers in the output of a layer
# The keys of a config that hold names, or the connections of the graph, which contain names.
_NAMING = ("name", "inbound_nodes", "input_layers", "output_layers", "build_config", "module")


def _is_model(layer: Any) -> bool:
    return isinstance(layer, keras.Model)


def walk_layers(
    model: Any,
    *,
    enter: Callable[[Any], bool] = _is_model,
    models: bool = False,
    prefix: str = "",
) -> Iterator[tuple[str, Any]]:
    """Yields every layer of a model and of its nested models, with its path.

    Args:
        model: A Keras or tf_keras model.
        enter: A function that returns whether a layer is a nested model to enter.
        models: Whether to also yield the nested models, each before its layers.
        prefix: Text before each path.

    Yields:
        The path, such as `encoder/conv_1`, and the layer.

    Example:
        >>> inner = keras.Sequential([keras.layers.Dense(2, name="a")], name="inner")
        >>> model = keras.Sequential([keras.Input((3,)), inner, keras.layers.ReLU(name="b")])
        >>> [path for path, _ in walk_layers(model, models=True)]
        ['inner', 'inner/a', 'b']
    """
    for layer in model.layers:
        nested = enter(layer)
        if models or not nested:
            yield prefix + layer.name, layer
        if nested:
            yield from walk_layers(
                layer, enter=enter, models=models, prefix=f"{prefix}{layer.name}/"
            )


def rows_at_once(model: keras.Model, most: int) -> int:
    """Returns the number of rows per batch with which no layer's output is too large.

    Args:
        model: The model.
        most: The maximum number of rows.

    Returns:
        The largest number in 1..`most` with at most 2^26 numbers in the output of any layer, or 1.

    Example:
        >>> rows_at_once(keras.Sequential([keras.Input((1 << 20,)), keras.layers.ReLU()]), 128)
        64
    """
    shapes = [s for _, layer in walk_layers(model) for s in _keras_private.output_shapes(layer)]
    largest = max((math.prod(size or 1 for size in shape[1:]) for shape in shapes), default=1)
    return max(1, min(most, _ENTRIES // max(1, largest)))


def fingerprint(model: Any) -> str:
    """Computes the SHA-256 of a model's settings, without names, and of its weights in order.

    Args:
        model: A built Keras or tf_keras model.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> len(fingerprint(model))
        64
    """
    digest = hashlib.sha256()
    try:
        config = _without_names(model.get_config())
    except NotImplementedError:  # a subclass without get_config
        config = type(model).__name__
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for weight in model.weights:
        array = np.ascontiguousarray(weight.numpy())
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _without_names(config: Any) -> Any:
    if isinstance(config, dict):
        return {k: _without_names(v) for k, v in config.items() if k not in _NAMING}
    if isinstance(config, list | tuple):
        return [_without_names(v) for v in config]
    return config
