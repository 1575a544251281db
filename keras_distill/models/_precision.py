"""A model that computes in another precision, with the same weights."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import _keras_private as private

_PLAIN = "float32"
_IMAGES = 4  # axes of a batch of images: example, row, column, channel


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization of images by TensorFlow's fused kernel, which reads 16 bits.

    Keras converts its input to float32 and normalizes it in a dozen operations. The kernel does the
    same in one pass, with sums in float32; on CPUs that compute in bfloat16, a training step of
    a ResNet takes 0.7 of the time. Models that compute in `mixed_bfloat16` or `mixed_float16`
    while they are trained have these layers. No saved model has them.

    The input is `(batch, rows, columns, channels)`; the layer computes anything else as Keras does.

    Example:
        >>> x = keras.random.normal((8, 4, 4, 3), seed=0)
        >>> fused, plain = FusedBatchNormalization(), keras.layers.BatchNormalization()
        >>> difference = keras.ops.abs(fused(x, training=True) - plain(x, training=True))
        >>> float(keras.ops.max(difference)) < 1e-5
        True
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        x = tf.convert_to_tensor(inputs)
        last = self.axis in (-1, len(x.shape) - 1)
        if mask is not None or len(x.shape) != _IMAGES or not last or not self._is_common():
            return super().call(inputs, training=training, mask=mask)
        gamma = self.gamma if self.scale else tf.ones_like(self.moving_mean)
        beta = self.beta if self.center else tf.zeros_like(self.moving_mean)
        scale, offset = tf.cast(gamma, tf.float32), tf.cast(beta, tf.float32)
        if not (training and self.trainable):
            return _fused(self, x, scale, offset, self.moving_mean, self.moving_variance)[0]
        y, mean, variance = _fused(self, x, scale, offset)
        # The kernel returns the unbiased variance; Keras's moving variance is the biased one.
        count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
        variance *= (count - 1.0) / count
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
        return y

    def _is_common(self) -> bool:
        """Returns whether the layer is one without the options that the kernel lacks."""
        return not (self.renorm or self.synchronized)


def _fused(
    layer: keras.layers.BatchNormalization, x: Any, scale: Any, offset: Any, *moments: Any
) -> Any:
    """Normalizes by `moments` (mean and variance), or by those of the batch."""
    mean, variance = (tf.convert_to_tensor(m) for m in moments) if moments else (None, None)
    return tf.compat.v1.nn.fused_batch_norm(
        x, scale, offset, mean, variance, epsilon=layer.epsilon, is_training=not moments
    )


def with_precision(model: keras.Model, policy: str) -> keras.Model:
    """Returns a copy of a model whose layers have another dtype policy, and the same weights.

    The last layers compute in float32 whatever the policy is, as Keras's guide to mixed precision
    advises: 16 bits are too few for a softmax over many classes. Batch normalization in 16 bits is
    a `FusedBatchNormalization`, in float32 Keras's own.

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
    )  # that of the model itself, which its config does not have
    try:
        with keras.saving.custom_object_scope({_FUSED["registered_name"]: FusedBatchNormalization}):
            copy = keras.saving.deserialize_keras_object(config)
    finally:
        keras.config.set_dtype_policy(before)
    copy.set_weights(model.get_weights())
    return copy


def trained_as(model: keras.Model, policy: str) -> keras.Model:
    """Returns the model to train in place of another: itself for float32, else a copy.

    After the training of a copy, its weights must be set in `model`.

    Args:
        model: See `with_precision`.
        policy: The `precision` of its training settings.
    """
    return model if policy == _PLAIN else with_precision(model, policy)


_KERAS_NORM = {
    "module": "keras.layers",
    "class_name": "BatchNormalization",
    "registered_name": None,
}
_FUSED = {
    "module": None,
    "class_name": FusedBatchNormalization.__name__,
    "registered_name": FusedBatchNormalization.__name__,
}


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
    chosen = _PLAIN if name in last else policy
    if config.get("class_name") in (_KERAS_NORM["class_name"], _FUSED["class_name"]):
        config.update(_KERAS_NORM if chosen == _PLAIN else _FUSED)
    for part in config.values():
        _set_policies(part, chosen, last)
