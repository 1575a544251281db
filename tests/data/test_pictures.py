"""Examples as pictures: which data are images, and with which brightness."""

import base64

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.data import pictures


def _pixels(x, **options):
    return [tf.io.decode_png(base64.b64decode(one)).numpy() for one in pictures(x, **options)]


@pytest.mark.parametrize(
    "values, dtype, shown",
    [
        ([0, 16], "uint8", [0, 255]),  # as the digits of scikit-learn
        ([0, 100], "uint8", [0, 100]),
        ([0.0, 0.5, 1.0], "float32", [0, 128, 255]),
        ([-1.0, 0.0, 1.0], "float32", [0, 128, 255]),
    ],
)
def test_one_scale_of_brightness_for_all(values, dtype, shown):
    x = np.array(values, dtype)[:, None, None, None] * np.ones((4, 6, 1), dtype)
    found = _pixels(x)
    assert [one.shape for one in found] == [(4, 6, 1)] * len(values)
    assert [int(one[0, 0, 0]) for one in found] == shown


def test_large_images_are_scaled_down_and_matrices_are_gray():
    assert _pixels(np.zeros((2, 96, 48, 3), np.uint8), largest=32)[0].shape == (32, 16, 3)
    assert _pixels(np.zeros((2, 40, 26), np.float32))[0].shape == (40, 26, 1)
