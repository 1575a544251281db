"""Converts examples to small pictures for reports."""

import base64

import numpy as np
import tensorflow as tf

from keras_distill._internal._types import Array

_LARGEST = 64  # pixels on the longer side


def are_images(shape: tuple[int, ...]) -> bool:
    """Returns whether examples of the given shape can be shown as pictures.

    Images have 1, 3, or 4 channels. A matrix larger than 4 x 4, such as a spectrogram, is shown as
    a gray picture.

    Example:
        >>> are_images((28, 28, 1)), are_images((40, 101)), are_images((40, 1)), are_images((8,))
        (True, True, False, False)
    """
    if len(shape) == 3:
        return shape[-1] in (1, 3, 4)
    return len(shape) == 2 and min(shape) > 4


def pictures(x: Array, largest: int = _LARGEST) -> list[str]:
    """Encodes images as base64 PNG files, with the same brightness scale for all images.

    uint8 images keep their values, unless all values are at most 50, as in the digits of
    scikit-learn (0..16). All other images are scaled to 0..255.

    Args:
        x: `(n, height, width)` or `(n, height, width, channels)`.
        largest: Larger images are scaled down to this many pixels on their longer side.
    """
    if x.ndim == 3:
        x = x[..., np.newaxis]
    low, high = float(x.min(initial=0)), float(x.max(initial=0))
    if x.dtype == np.uint8 and high > 50:
        low, high = 0.0, 255.0
    scaled = (x.astype(np.float32) - low) * (255 / max(high - low, 1e-9))
    factor = largest / max(x.shape[1:3])
    if factor < 1:
        size = [max(1, round(side * factor)) for side in x.shape[1:3]]
        scaled = tf.image.resize(scaled, size, "area").numpy()
    pixels = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return [base64.b64encode(tf.io.encode_png(one).numpy()).decode() for one in pixels]
