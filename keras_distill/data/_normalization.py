"""What the first layer of a model is given: mean and spread of the training examples."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError


class Rescale(NamedTuple):
    """`x * scale + offset` has mean 0 and standard deviation 1 over the training examples.

    Attributes:
        scale: 1 / standard deviation: one float, or one per channel.
        offset: -mean / standard deviation, likewise.
    """

    scale: float | tuple[float, ...]
    offset: float | tuple[float, ...]


def statistics(train: tf.data.Dataset) -> Rescale:
    """Computes the normalization of raw examples.

    Images with 2 to 4 channels, shape `(height, width, channels)`, get one pair of numbers per
    channel; everything else one pair for all values. A channel that never varies is only shifted.

    Args:
        train: `(x, y)`, unbatched, finite.

    Returns:
        (scale, offset), plain floats, as `models.build(rescale=…)` takes them.

    Raises:
        InputError: If there are no examples.

    Example:
        >>> train = tf.data.Dataset.from_tensor_slices(([[0.0], [10.0]], [0, 1]))
        >>> statistics(train)
        Rescale(scale=0.2, offset=-1.0)
    """
    shape = train.element_spec[0].shape
    per_channel = shape.rank == 3 and 2 <= shape[-1] <= 4
    channels = shape[-1] if per_channel else 1
    count, total, squares = 0, np.zeros(channels), np.zeros(channels)
    for x in train.map(lambda x, y: x, tf.data.AUTOTUNE).batch(1024).as_numpy_iterator():
        values = x.reshape(-1, channels).astype(np.float64)
        count += len(values)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=0)
    if not count:
        raise InputError("statistics: no examples.")
    mean = total / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    # Rounding leaves a constant channel a spread of about 1e-8 of its mean.
    spread[spread <= 1e-7 * np.abs(mean)] = 1.0
    scale, offset = (1 / spread).tolist(), (-mean / spread).tolist()
    return Rescale(tuple(scale), tuple(offset)) if per_channel else Rescale(scale[0], offset[0])
