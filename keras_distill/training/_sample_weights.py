"""Sample weights, masks, and missing labels: how they are aligned with the loss values."""

from typing import Any

import tensorflow as tf

from keras_distill._internal import InputError


def is_sparse(labels: Any, outputs: Any) -> bool:
    """Whether labels are class ids: the outputs' shape with no class axis, or with size 1 there.

    Args:
        labels: An object with a shape.
        outputs: An object with a shape; its class axis has 2 or more classes.

    Example:
        >>> import numpy as np
        >>> is_sparse(np.zeros((8, 1)), np.zeros((8, 10))), is_sparse(np.zeros(8), np.zeros((8, 1)))
        (True, False)
    """
    shape, rank = labels.shape, len(outputs.shape)
    if rank < 2 or outputs.shape[-1] is None or outputs.shape[-1] < 2:
        return False
    return len(shape) == rank - 1 or (len(shape) == rank and shape[-1] == 1)


def positions(outputs: Any) -> int:
    """The rank of a Keras loss of these outputs before reduction."""
    return max(len(outputs.shape) - 1, 1)


def has_label(
    labels: Any,
    outputs: Any,
    labeled: Any = None,
    *,
    minus_one: bool = True,
    two_classes: bool = False,
) -> Any:
    """Which positions have a label.

    Args:
        labels: The labels of one output. The class id -1, in a signed integer dtype, means that the
            position has no label.
        outputs: The student's output.
        labeled: bool `(B,)`, or None.
        minus_one: Whether the class id -1 means "no label".
        two_classes: Whether labels of one unit are the class ids 0 and 1.

    Returns:
        A bool tensor of the rank `positions`; None if every position has a label.
    """
    rank = positions(outputs)
    mask = None
    dtype = tf.as_dtype(labels.dtype)
    signed = dtype.is_integer and not dtype.is_unsigned
    if minus_one and signed and (two_classes or is_sparse(labels, outputs)):
        mask = align(tf.not_equal(labels, tf.cast(-1, labels.dtype)), rank)
    if labeled is None:
        return mask
    labeled = align(tf.cast(labeled, tf.bool), rank)
    return labeled if mask is None else tf.logical_and(mask, labeled)


def align(weights: Any, rank: int) -> Any:
    """Weights with trailing axes of size 1 added (or one removed) to broadcast at that rank."""
    if len(weights.shape) == rank + 1 and weights.shape[-1] == 1:
        return tf.squeeze(weights, -1)
    while len(weights.shape) < rank:
        weights = tf.expand_dims(weights, -1)
    return weights


def without_missing(labels: Any, mask: Any) -> Any:
    """Labels with 0 where the mask is false, so that no loss sees -1 or NaN."""
    if mask is None:
        return labels
    labels = tf.convert_to_tensor(labels)
    return tf.where(align(mask, len(labels.shape)), labels, tf.zeros((), labels.dtype))


def weigh(mask: Any, sample_weight: Any, rank: int) -> Any:
    """The product of a mask and sample weights, aligned to `rank`; None if both are None."""
    weights = None if mask is None else align(tf.cast(mask, tf.float32), rank)
    if sample_weight is None:
        return weights
    sample_weight = align(tf.cast(sample_weight, tf.float32), rank)
    return sample_weight if weights is None else sample_weight * weights


def mask_weights(mask: Any, dtype: tf.DType) -> tf.Tensor:
    """A mask as weights: positions/valid where true, 0 where false, as in Keras.

    Example:
        >>> mask_weights([True, False, True, False], tf.float32).numpy().tolist()
        [2.0, 0.0, 2.0, 0.0]
    """
    weights = tf.cast(mask, dtype)
    count = tf.cast(tf.size(weights), dtype)
    return weights * tf.math.divide_no_nan(count, tf.reduce_sum(weights))


def reduce_values(
    values: Any, sample_weight: Any = None, mask: Any = None, name: str = "The loss"
) -> tf.Tensor:
    """Σ w·L / number of positions, as Keras reduces a loss.

    Args:
        values: `(B, ...)`, one value per position.
        sample_weight: Weights of the leading axes, or None.
        mask: bool of the leading axes, or None. With a mask, the mean is over the valid positions.
            A mask with more axes than the values is ignored, because the loss has pooled over
            these axes.
        name: The name of the loss, for the error message.

    Returns:
        A scalar.

    Raises:
        InputError: If there are weights for axes that the values do not have.
    """
    rank = len(values.shape)
    if mask is not None and len(mask.shape) <= rank:
        values *= align(mask_weights(mask, values.dtype), rank)
    if sample_weight is not None:
        aligned = align(tf.cast(sample_weight, values.dtype), rank)
        if len(aligned.shape) > rank or not _broadcasts(aligned.shape, values.shape):
            raise InputError(
                f"`sample_weight` (class weights are one) must fit {name}, which has values of"
                f" shape {tuple(values.shape)}. Received: weights of shape"
                f" {tuple(sample_weight.shape)}."
            )
        values *= aligned
    return tf.reduce_mean(values)


def _broadcasts(weights: Any, values: Any) -> bool:
    """Whether weights broadcast to values of the same rank, as far as the shapes are known."""
    pairs = zip(tuple(weights), tuple(values), strict=True)
    return all(None in pair or pair[0] in (1, pair[1]) for pair in pairs)


def without_padding(features: Any, mask: Any) -> Any:
    """Returns features `(B, L, ...)` with 0 where a mask `(B, L)` is false.

    Features with other leading axes are returned unchanged: the mask does not apply to them.
    """
    rank = len(mask.shape)
    shape = tuple(features.shape)
    if len(shape) <= rank or shape[1:rank] != tuple(mask.shape)[1:]:
        return features
    kept = align(tf.cast(mask, tf.bool), len(shape))
    return tf.where(kept, features, tf.zeros((), features.dtype))
