"""Raw pixels for 8-bit inputs that are made for scaled images, and real values."""

import numpy as np
import pytest

from keras_distill.litert import TensorSpec, takes_pixels
from keras_distill.litert._tensors import quantize

UNIT = TensorSpec("image", (1, 4), "int8", 1 / 255, -128)  # 0..1
SIGNED = TensorSpec("image", (1, 4), "int8", 2 / 255, 0)  # -1..1
BYTES = TensorSpec("image", (1, 4), "uint8", 1 / 255, 0)
RAW = TensorSpec("image", (1, 4), "int8", 1.0, -128)  # 0..255
PIXELS = np.array([[0, 1, 128, 255]])


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int32"])
@pytest.mark.parametrize(
    ("spec", "expected"),
    [(UNIT, [-128, -127, 0, 127]), (SIGNED, [-128, -127, 0, 127]), (BYTES, [0, 1, 128, 255])],
)
def test_pixels_are_not_cut_off(spec, expected, dtype):
    found = quantize(PIXELS.astype(dtype), spec, alone=True)
    assert found.dtype == spec.dtype and found.tolist() == [expected]
    real = PIXELS / 255 if spec is not SIGNED else PIXELS / 127.5 - 1
    np.testing.assert_allclose(quantize(real, spec, alone=True), found, atol=1)


@pytest.mark.parametrize(
    "x",
    [
        np.array([[0.0, 1.0, 1.0, 0.0]]),
        np.array([[0.0, 0.5, 0.25, 1.0]]),
        np.array([[0.0, 1.0, 2.0, 9.0]]),  # counts, of which one is large
        np.array([[0.5, 200.0, 3.0, 4.0]]),
        np.array([[-3.0, 200.0, 3.0, 4.0]]),
        np.array([[0.0, 200.0, 3.0, 1e6]]),
        np.zeros((1, 4), np.int8),
        np.zeros((0, 4)),
    ],
)
def test_real_values_stay_real(x):
    assert not takes_pixels(x, UNIT)


def test_a_range_of_0_to_255_takes_real_values():
    assert not takes_pixels(PIXELS.astype("uint8"), RAW)
    assert quantize(PIXELS.astype("uint8"), RAW, alone=True).tolist() == [[-128, -127, 0, 127]]


def test_one_of_several_inputs_takes_real_values():
    assert quantize(PIXELS.astype("uint8"), UNIT).tolist() == [[-128, 127, 127, 127]]
