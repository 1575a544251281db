"""Normalization statistics: the scale and offset of the first layer of a model."""

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

    Images with 2 to 4 channels, shape `(height, width, channels)`, get one pair of numbers per
    channel; all other data one pair for all values. A constant channel is only shifted.

    Args:
        train: `(x, y)`, or x alone; unbatched, finite.

    Returns:
        (scale, offset) as floats, for `models.build(rescale=…)`.

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
    # One after the other: for so little work, starting threads takes longer than it saves.
    for x in train.map(lambda x, *_: x).batch(1024).as_numpy_iterator():
        # A square of uint8 fits into uint16, and integer sums are exact.
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
    # With rounding, a constant channel has a spread of about 1e-8 of its mean.
    spread[spread <= 1e-7 * np.abs(mean)] = 1.0
    scale, offset = (1 / spread).tolist(), (-mean / spread).tolist()
    return Rescale(tuple(scale), tuple(offset)) if per_channel else Rescale(scale[0], offset[0])
