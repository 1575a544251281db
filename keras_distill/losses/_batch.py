"""Weights of losses that relate the examples of a batch, and so cannot weigh each alone."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_distill._internal import InputError, bad
from keras_distill.losses._logspace import as_float

_RULE = (
    "relates the examples of a batch, so every sample weight must be 0 (the row is dropped) or one"
    " and the same"
)
_REMEDY = "Use a loss with a value per example, or no class_weight and equal sample_weight."


def over_rows(
    value: Callable[[tf.Tensor | None], tf.Tensor],
    sample_weight: Any,
    leading: tf.Tensor,
    name: str,
) -> tf.Tensor:
    """The value over the rows whose weight is not 0, times the mean weight.

    So a weight c on all rows gives c times the value, and dropping rows lowers it as it lowers
    Σ w·L / B. Where weights are known only when the graph runs, an assertion refuses unequal
    ones; under XLA, which drops assertions, the loss becomes NaN.

    Args:
        value: Takes 1 or 0 per row `(rows,)`, or None for all rows, and gives a scalar.
        sample_weight: None, or weights that broadcast to `leading` from the left.
        leading: The shape of the rows before they are flattened, as a 1-D tensor.
        name: The loss, for the error.

    Raises:
        InputError: If weights that are known differ, or their shape does not fit.
    """
    if sample_weight is None:
        return value(None)
    weights = _aligned(as_float(sample_weight), leading)
    kept = tf.not_equal(weights, 0)
    low = tf.reduce_min(tf.where(kept, weights, weights.dtype.max))
    high = tf.reduce_max(tf.where(kept, weights, weights.dtype.min))
    equal = high - low <= 1e-6 * tf.abs(high)
    known = tf.get_static_value(equal)
    if known is not None and not known:
        raise InputError(
            f"{name} {_RULE}. Received: sample_weight from {float(low):g} to {float(high):g}."
            f" {_REMEDY}"
        )
    result = value(tf.cast(kept, weights.dtype))
    words = [f"{name} {_RULE}. {_REMEDY} Received: sample_weight from", low, "to", high]
    with tf.control_dependencies([tf.debugging.Assert(equal, words)]):
        mean = tf.cast(tf.reduce_mean(weights), result.dtype)
        return result * tf.where(equal, mean, tf.constant(float("nan"), result.dtype))


def _aligned(weights: tf.Tensor, leading: tf.Tensor) -> tf.Tensor:
    rank = leading.shape[0]
    if weights.shape.rank > rank and weights.shape[-1] == 1:
        weights = tf.squeeze(weights, -1)
    if weights.shape.rank > rank:
        raise bad("sample_weight", f"have at most {rank} axes here", weights.shape)
    while weights.shape.rank < rank:
        weights = weights[..., None]
    return tf.reshape(tf.broadcast_to(weights, leading), (-1,))
