"""Zeros and values are counted in the file as it is stored."""

import keras
import numpy as np
import pytest

from keras_distill import InputError
from keras_distill.compress import count_weights
from keras_distill.export import export_all

L = keras.layers


def model():
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            L.Conv2D(4, 3, name="conv"),
            L.DepthwiseConv2D(2, name="depthwise"),
            L.Flatten(),
            L.Dense(64, name="wide"),
            L.Dense(2, name="logits"),
        ]
    )
    few = np.random.default_rng(0).choice([0.0, -0.5, 1.0], p=[0.8, 0.1, 0.1], size=(36, 64))
    net.get_layer("wide").kernel.assign(few)
    net.get_layer("conv").kernel.assign(np.broadcast_to([0.0, 1.0, 0.0, 1.0], (3, 3, 3, 4)))
    return net, int((few == 0).sum())


@pytest.mark.filterwarnings("ignore::keras_distill.KerasDistillWarning")
def test_float_and_half_files(tmp_path):
    net, zeros = model()
    export_all(net, tmp_path, quantizations=["float32", "float16"], stem="net")
    for kind in ("float32", "float16"):
        counted = count_weights(tmp_path / f"net-{kind}.tflite")
        assert [k.op for k in counted] == [
            *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "FULLY_CONNECTED")
        ]
        conv, depthwise, wide, logits = counted
        assert (wide.shape, wide.zeros, wide.values) == ((64, 36), zeros, 3)
        assert wide.sparsity == zeros / (36 * 64)
        # Every channel of the convolution holds one value; there are two in all.
        assert (conv.size, conv.zeros, conv.values, conv.values_per_channel) == (108, 54, 2, 1)
        assert depthwise.zeros == 0 and depthwise.values_per_channel == 4
        assert logits.values == 128 if kind == "float32" else logits.values <= 128
        assert wide.dtype == kind


def test_what_is_no_file_of_the_kind_is_refused(tmp_path):
    (tmp_path / "a.tflite").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"not a .tflite file"):
        count_weights(tmp_path / "a.tflite")
    with pytest.raises(InputError, match="no such file"):
        count_weights(tmp_path / "b.tflite")
