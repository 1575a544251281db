"""Recomputes the statistics of batch normalization layers on data."""

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal._keras_private import GraphCall, sublayers
from keras_distill.models import follow, has_graph
from keras_distill.shrink._run import call_operation


def recalibrate(model: keras.Model, inputs: Iterable[Any]) -> int:
    """Sets the moving mean and variance to the averages over the given batches.

    If channels were removed, the inputs of a layer have other statistics than its batch
    normalization has stored. Only batch normalization layers run in training mode: dropout is off,
    and no weight is trained. Frozen layers (`trainable=False`) are not changed.

    Args:
        model: A model with a graph; its statistics change.
        inputs: Batches, in the structure of the model.

    Returns:
        The number of recalibrated batch normalization layers.
    """
    layers = [
        layer
        for layer in sublayers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    momenta = [layer.momentum for layer in layers]

    def visit(call: GraphCall, values: dict[int, Any]) -> list[Any]:
        if has_graph(call.operation):
            return follow(call.operation, [values[id(t)] for t in call.inputs], visit)
        normalizes = isinstance(call.operation, keras.layers.BatchNormalization)
        return call_operation(call, values, training=normalizes)

    try:
        for place, x in enumerate(inputs if layers else (), start=1):
            for layer in layers:
                layer.momentum = 1 - 1 / place  # the mean over the batches so far
            follow(model, [tf.convert_to_tensor(a) for a in keras.tree.flatten(x)], visit)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    return len(layers)
