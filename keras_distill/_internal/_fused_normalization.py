"""Uses TensorFlow's fused batch normalization while a model trains.

Keras's TensorFlow backend computes the moments, the normalization, and their gradients as separate
operations, each of which reads the whole activation. On a CPU, TensorFlow's fused operation makes a
training step of a ResNet-20 about a quarter faster. Keras has no option to use it. This module
imports Keras, so the package `_internal` does not import this module.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import _keras_private as private
from keras_distill._internal._types import Tensor

_READ = (tf.float32, tf.bfloat16, tf.float16)
_SMALLEST_EPSILON = 1e-5  # cuDNN does not support a smaller one


@contextlib.contextmanager
def fused_batch_normalization(model: keras.Model) -> Iterator[None]:
    """Makes the batch normalizations of `model` use TensorFlow's fused operation in the block.

    The result equals that of Keras up to float32 rounding: y = gamma (x - mean) /
    sqrt(variance + epsilon) + beta with the moments of the batch, and moving averages of the mean
    and the biased variance. Source: Ioffe and Szegedy 2015 (arXiv:1502.03167).

    Calls that the fused operation does not support use Keras's own implementation: inference,
    frozen layers, masks, inputs other than `(batch, height, width, channels)`, an epsilon below
    1e-5, renormalization, synchronized statistics, and subclasses. After the block, the layers are
    as before, so the model is saved as plain Keras.

    Args:
        model: A model. It may contain such layers at any depth, or none.

    Example:
        >>> layer = keras.layers.BatchNormalization()
        >>> model = keras.Sequential([keras.Input((4, 4, 2)), layer])
        >>> x = keras.random.normal((8, 4, 4, 2), seed=0)
        >>> plain = model(x, training=True)
        >>> with fused_batch_normalization(model):
        ...     fused = model(x, training=True)
        >>> bool(keras.ops.max(keras.ops.abs(plain - fused)) < 1e-5)
        True
    """
    swapped = [layer for layer in private.sublayers(model) if _can_be_fused(layer)]
    for layer in swapped:
        # Keras's `__setattr__` would track the object as a part of the layer.
        layer.__dict__["call"] = _FusedCall(layer)
    try:
        yield
    finally:
        for layer in swapped:
            layer.__dict__.pop("call", None)


def _can_be_fused(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.BatchNormalization
        and "call" not in layer.__dict__
        and layer.axis in (-1, 3)
        and layer.epsilon >= _SMALLEST_EPSILON
        and not (layer.renorm or layer.synchronized)
    )


class _FusedCall:
    """Replaces `BatchNormalization.call`, and uses the fused operation where that is possible."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def __call__(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        layer = self._layer
        fused = training and layer.trainable and mask is None and len(inputs.shape) == 4
        if not fused or isinstance(inputs, keras.KerasTensor):
            return type(layer).call(layer, inputs, training=training, mask=mask)
        # The operation sums 16-bit inputs in float32. Keras converts them to float32 first.
        x = inputs if inputs.dtype in _READ else tf.cast(inputs, tf.float32)
        channels, dtype = layer.moving_mean.shape[0], tf.float32
        gamma = tf.cast(layer.gamma, dtype) if layer.scale else tf.ones(channels, dtype)
        beta = tf.cast(layer.beta, dtype) if layer.center else tf.zeros(channels, dtype)
        # The raw operation, because `tf.compat.v1.nn.fused_batch_norm` raises epsilon to 1.001e-5.
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=gamma,
            offset=beta,
            mean=tf.zeros(0, dtype),
            variance=tf.zeros(0, dtype),
            epsilon=layer.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.size(x) // channels, dtype)
        # The operation returns the unbiased variance, and Keras averages the biased one.
        _average(layer.moving_mean, mean, layer.momentum)
        _average(layer.moving_variance, variance * (count - 1) / count, layer.momentum)
        return tf.cast(y, layer.compute_dtype)


def _average(variable: Any, value: Tensor, momentum: float) -> None:
    old = tf.cast(variable, value.dtype)
    variable.assign(old * momentum + value * (1.0 - momentum))
