"""The layers of a model, and the fingerprint of a model."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_distill._internal import _keras_private

# The keys of a config that hold names, or the graph's wiring, which contains names too.
_ENTRIES = 1 << 26  # numbers in the output of a layer
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
        enter: Whether a layer is a nested model whose layers to yield.
        models: Whether to yield the nested models too, each before its layers.
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
    """Returns how many rows a model may take at once, so that no layer's output is enormous.

    Args:
        model: The model.
        most: The largest number.

    Returns:
        From 1 to `most`: with more rows, an output of a layer has more than 2^26 numbers.

    Example:
        >>> rows_at_once(keras.Sequential([keras.Input((1 << 20,)), keras.layers.ReLU()]), 128)
        64
    """
    shapes = [s for _, layer in walk_layers(model) for s in _keras_private.output_shapes(layer)]
    largest = max((math.prod(size or 1 for size in shape[1:]) for shape in shapes), default=1)
    return max(1, min(most, _ENTRIES // max(1, largest)))


def fingerprint(model: Any) -> str:
    """Returns the SHA-256 of a model's settings, without names, and of its weights in order.

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
