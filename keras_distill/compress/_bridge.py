"""Converts a Keras 3 functional or Sequential model to a tf_keras twin, and back.

tensorflow-model-optimization supports tf_keras models only. The twin is rebuilt layer by layer from
the config, has the same names, and shares no objects with the original model.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from keras_distill import models
from keras_distill._internal import InputError, VerificationError
from keras_distill._internal._keras_private import producer
from keras_distill.compress._layers import CONSTANT_LAYERS, refusal
from keras_distill.compress._rebuild import Builder, check_kind, copy_weights
from keras_distill.models import random_inputs, walk_layers

# The largest relative difference between outputs that counts as rounding.
TOLERANCE = 1e-4


def to_tf_keras(model: keras.Model, *, flat: bool = False) -> Any:
    """Builds a tf_keras twin of a Keras 3 model, with copies of its weights.

    Shared layers, multiple inputs and outputs (also as dicts), and nested models are supported.
    Both models run once on random input, and their outputs must agree.

    Args:
        model: A functional or Sequential model that has been built.
        flat: Whether to flatten nested models; their layers are then named `outer_inner`.

    Returns:
        A functional `tf_keras.Model`.

    Raises:
        InputError: If a layer, a config key, or an activation is not supported. The message names
            the layer and the key.
        VerificationError: If the outputs differ.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="logits")])
        >>> twin = to_tf_keras(model)
        >>> type(twin).__module__.split(".")[0], [layer.name for layer in twin.layers][1:]
        ('tf_keras', ['logits'])
    """
    check_kind(model)
    _refuse_sharing_across(model)
    twin = Builder(model, flat=flat).build()
    x = random_inputs(model)
    _check_equal(model, x, twin(x, training=False))
    return twin


def to_logits(model: keras.Model, heads: Mapping[str, str], *, split: bool = False) -> Any:
    """Builds a twin for training: nested models and structures are flattened, heads removed.

    Args:
        model: A functional or Sequential model that has been built.
        heads: Name of a layer that ends in an activation -> "softmax" or "sigmoid". The activation
            is left out.
        split: Whether to split a SeparableConv2D into a depthwise and a 1x1 convolution.

    Returns:
        A functional `tf_keras.Model` with the same order of inputs and outputs as `model`.

    Raises:
        InputError: See `to_tf_keras`.
        VerificationError: See `to_tf_keras`.
    """
    check_kind(model)
    _refuse_sharing_across(model)
    twin = Builder(model, flat=True, linear=tuple(heads), split=split).build()
    inputs, outputs = keras.tree.flatten(twin.input), keras.tree.flatten(twin.output)
    flat = tf_keras.Model(inputs, outputs, name=model.name)
    x = random_inputs(model)
    logits = tf.nest.flatten(flat(keras.tree.flatten(x), training=False))
    _check_equal(model, x, _with_heads(model, logits, heads))
    return flat


def _with_heads(model: keras.Model, logits: list[Any], heads: Mapping[str, str]) -> list[Any]:
    functions = {"softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}
    kinds = [heads.get(_head_layer(tensor)) for tensor in model.outputs]
    return [functions[k](z) if k else z for k, z in zip(kinds, logits, strict=True)]


def _head_layer(tensor: Any) -> str:
    """Returns the name of the layer of a symbolic output, also inside nested models."""
    layer, _, index = producer(tensor)
    return _head_layer(layer.outputs[index]) if isinstance(layer, keras.Model) else layer.name


def to_keras(twin: Any, like: keras.Model) -> keras.Model:
    """Builds a Keras 3 model like a given one, with the weights of a tf_keras twin.

    Args:
        twin: A trained twin of `like`, nested or flat, without wrappers.
        like: The model from which the twin was built; it is not changed.

    Returns:
        A clone of `like` with the same `trainable` flags, not compiled.

    Raises:
        InputError: If the two do not have the same layers and weights.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> again = to_keras(to_tf_keras(model), like=model)
        >>> all((a == b).all() for a, b in zip(model.get_weights(), again.get_weights()))
        True
    """
    clone = clone_with_weights(like)
    twins = dict(walk_layers(twin, enter=lambda layer: isinstance(layer, tf_keras.Model)))
    for path, layer in walk_layers(clone):
        if type(layer).__name__ in CONSTANT_LAYERS or not layer.weights:
            continue
        found = twins.get(path) or twins.get(path.replace("/", "_"))
        if found is None:
            raise InputError(f"The twin has no layer {path!r}.")
        copy_weights(path, [w.numpy() for w in found.weights], layer.weights)
    return clone


def clone_with_weights(model: keras.Model) -> keras.Model:
    """Copies a Keras 3 model. The copy shares no objects with it and is not compiled."""
    clone = keras.models.clone_model(model)
    models.copy_weights(model, clone)
    return clone


def _refuse_sharing_across(model: keras.Model) -> None:
    paths: dict[int, str] = {}
    for path, layer in walk_layers(model):
        if id(layer) in paths and layer.weights:
            raise refusal(
                path,
                f"it is shared with {paths[id(layer)]!r} in another model",
                "Use it twice within one model instead.",
            )
        paths[id(layer)] = path


def largest_difference(a: Any, b: Any) -> float:
    """Returns the largest difference of two output structures, relative to the first (>= 1)."""
    flat = [[np.asarray(t) for t in keras.tree.flatten(side)] for side in (a, b)]
    relative = [np.abs(p - q).max() / max(1.0, np.abs(p).max()) for p, q in zip(*flat, strict=True)]
    return float(np.max(relative))


def _check_equal(model: keras.Model, x: Any, outputs: Any) -> None:
    difference = largest_difference(model(x, training=False), outputs)
    if not difference <= TOLERANCE:
        raise VerificationError(
            f"Model {model.name!r}: its tf_keras twin gives other outputs (relative difference"
            f" {difference:.1e}, allowed {TOLERANCE:g}). Please report the layers it is made of."
        )
