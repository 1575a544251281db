"""Copies a model so that it computes in another precision with the same weights."""

from typing import Any

import keras

from keras_distill._internal import _keras_private as private
from keras_distill.models._copy_weights import copy_weights

_PLAIN = "float32"


def with_precision(model: keras.Model, policy: str) -> keras.Model:
    """Returns a copy of a model with another dtype policy and the same weights.

    The last layers always compute in float32, as the Keras guide to mixed precision recommends: 16
    bits are too few for a softmax over many classes.

    Args:
        model: A Functional or Sequential model.
        policy: Name of the policy: "float32", "mixed_float16", or "mixed_bfloat16".

    Example:
        >>> hidden, last = keras.layers.Dense(3, "relu"), keras.layers.Dense(2)
        >>> model = keras.Sequential([keras.Input((4,)), hidden, last])
        >>> half = with_precision(model, "mixed_bfloat16")
        >>> [layer.compute_dtype for layer in half.layers]
        ['bfloat16', 'float32']
    """
    config: Any = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    outputs = keras.tree.flatten(model.outputs)
    last = {private.producer(output)[0].name for output in outputs}
    _set_policies(config["config"], policy, last)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(
        policy
    )  # sets the policy of the model itself, which its config does not contain
    try:
        copy = keras.saving.deserialize_keras_object(config)
    finally:
        keras.config.set_dtype_policy(before)
    copy_weights(model, copy)
    return copy


def trained_as(model: keras.Model, policy: str) -> keras.Model:
    """Returns the model to train: the model itself for float32, otherwise a copy.

    After training a copy, copy its weights back to `model` with `copy_weights`.

    Args:
        model: See `with_precision`.
        policy: The `precision` of the training settings.
    """
    return model if policy == _PLAIN else with_precision(model, policy)


def _set_policies(config: Any, policy: str, last: set[str]) -> None:
    """Sets the policy of every layer in a serialized config, at any depth."""
    if isinstance(config, list):
        for part in config:
            _set_policies(part, policy, last)
    if not isinstance(config, dict):
        return
    if config.get("class_name") == "DTypePolicy":
        config["config"]["name"] = policy
        return
    inner = config.get("config")
    name = inner.get("name") if isinstance(inner, dict) else None
    for part in config.values():
        _set_policies(part, _PLAIN if name in last else policy, last)
