"""Defines Keras 3 activations that tf_keras lacks or computes differently."""

import tensorflow as tf
import tf_keras

_PACKAGE = "keras_distill"

# Keras 3 name -> tf_keras name, where both compute the same.
_SAME = {
    name: name
    for name in (
        "elu",
        "exponential",
        "gelu",
        "linear",
        "mish",
        "relu",
        "selu",
        "sigmoid",
        "softmax",
        "softplus",
        "softsign",
        "tanh",
    )
} | {"silu": "swish", "swish": "swish"}


@tf_keras.utils.register_keras_serializable(_PACKAGE)
def relu6(x: tf.Tensor) -> tf.Tensor:
    """min(max(x, 0), 6)."""
    return tf.nn.relu6(x)


@tf_keras.utils.register_keras_serializable(_PACKAGE)
def hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """relu6(x + 3) / 6, as in Keras 3; tf_keras clips 0.2x + 0.5."""
    return tf.nn.relu6(x + 3.0) / 6.0


@tf_keras.utils.register_keras_serializable(_PACKAGE)
def hard_silu(x: tf.Tensor) -> tf.Tensor:
    """x · relu6(x + 3) / 6."""
    return x * tf.nn.relu6(x + 3.0) / 6.0


@tf_keras.utils.register_keras_serializable(_PACKAGE)
def leaky_relu(x: tf.Tensor) -> tf.Tensor:
    """max(x, 0.2x), with the default slope of Keras 3."""
    return tf.nn.leaky_relu(x, alpha=0.2)


@tf_keras.utils.register_keras_serializable(_PACKAGE)
def log_softmax(x: tf.Tensor) -> tf.Tensor:
    """log softmax over the last axis."""
    return tf.nn.log_softmax(x)


_OURS = {
    "relu6": relu6,
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": hard_silu,
    "hard_swish": hard_silu,
    "leaky_relu": leaky_relu,
    "log_softmax": log_softmax,
}

ACTIVATIONS = {**_SAME, **_OURS}
