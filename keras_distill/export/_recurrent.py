"""Unrolls the loops of recurrent networks, so that the converter can calibrate them for int8."""

from typing import Any

import keras

from keras_distill import models
from keras_distill._internal._keras_private import is_functional, sublayers
from keras_distill.export._sources import KerasSource, Source


def has_loops(source: Source) -> bool:
    """Returns whether a Keras model has recurrent layers whose loops are not unrolled."""
    return isinstance(source, KerasSource) and any(
        _is_rolled(layer) for layer in sublayers(source.model)
    )


def unrolled(source: Source) -> KerasSource | None:
    """Returns the same model with unrolled loops; None if no loop can be unrolled.

    Args:
        source: A functional or sequential Keras model. For any other source, returns None.
    """
    if not isinstance(source, KerasSource):
        return None
    model = source.model
    if not (is_functional(model) or isinstance(model, keras.Sequential)):
        return None
    loops = [layer for layer in model.layers if _is_rolled(layer)]
    # Only loops with a fixed number of steps can be unrolled.
    if not loops or any(layer.input.shape[1] is None for layer in loops):
        return None

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not _is_rolled(layer):
            return layer.__class__.from_config(layer.get_config())
        config: dict[str, Any] = layer.get_config()
        if isinstance(layer, keras.layers.Bidirectional):
            for key in ("layer", "backward_layer"):
                if config.get(key):
                    config[key] = {
                        **config[key],
                        "config": {**config[key]["config"], "unroll": True},
                    }
        else:
            config["unroll"] = True
        return layer.__class__.from_config(config)

    try:
        copy = keras.models.clone_model(model, clone_function=clone)
        models.copy_weights(model, copy)
    except (ValueError, TypeError):  # a layer that cannot be rebuilt from its config
        return None
    return KerasSource(copy)


def _is_rolled(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.Bidirectional):
        return not layer.forward_layer.unroll
    return isinstance(layer, keras.layers.RNN) and not layer.unroll
