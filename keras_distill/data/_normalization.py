"""Computes the normalization of the data: the scale and offset of the first layer of a model."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._types import Dataset


class Rescale(NamedTuple):
    """The normalization `x * scale + offset`: mean 0 and standard deviation 1 over train.

    Attributes:
        scale: 1 / standard deviation: one float, or one per channel.
        offset: -mean / standard deviation, in the same form.
    """

    scale: float | tuple[float, ...]
    offset: float | tuple[float, ...]


def statistics(train: Dataset) -> Rescale:
    """Computes the normalization of raw examples.

    Images of shape `(height, width, channels)` with 2 to 4 channels get one scale and offset per
    channel; all other data get one scale and offset for all values. A constant channel is only
    shifted.

    Args:
        train: A data set of `(x, y)`, or of x alone; unbatched, finite.

    Returns:
        The scale and offset, for `models.build(rescale=…)`.

    Raises:
        InputError: If there are no examples, or the examples are text.

    Example:
        >>> train = tf.data.Dataset.from_tensor_slices(([[0.0], [10.0]], [0, 1]))
        >>> statistics(train)
        Rescale(scale=0.2, offset=-1.0)
    """
    element: Any = train.element_spec
    spec = element[0] if isinstance(element, tuple) else element
    shape = spec.shape
    if spec.dtype == tf.string:
        raise InputError("statistics: the examples are text. Only numbers can be normalized.")
    per_channel = shape.rank == 3 and 2 <= shape[-1] <= 4
    channels = shape[-1] if per_channel else 1
    count = 0
    total, squares = np.zeros(channels), np.zeros(channels)
    # Sequential: for so little work, threads cost more time than they save.
    for x in train.map(lambda x, *_: x).batch(1024).as_numpy_iterator():
        # The square of a uint8 fits in uint16, and integer sums are exact.
        wide, sums = (np.uint16, np.uint64) if x.dtype == np.uint8 else (np.float64, np.float64)
        count += x.size // channels
        for c in range(channels):
            values = x[..., c] if per_channel else x
            total[c] += values.sum(dtype=sums)
            squares[c] += np.square(values, dtype=wide).sum(dtype=sums)
    if not count:
        raise InputError("statistics: no examples.")
    mean = total / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    # Rounding gives a constant channel a standard deviation of about 1e-8 of its mean.
    spread[spread <= 1e-7 * np.abs(mean)] = 1.0
    scale, offset = (1 / spread).tolist(), (-mean / spread).tolist()
    return Rescale(tuple(scale), tuple(offset)) if per_channel else Rescale(scale[0], offset[0])
