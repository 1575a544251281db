"""Zeros and values are counted in the file as it is stored."""

from pathlib import Path

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from keras_distill import InputError
from keras_distill.export import export_all
from keras_distill.litert import LiteRTModel, add_metadata, count_weights, probe, read_graph

L = keras.layers
FILES = Path(__file__).parents[1] / "golden/tflite"


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


@pytest.mark.parametrize("name", ["float", "int8", "uint8"])
def test_external_buffers_are_counted_like_inline_ones(name, tmp_path):
    """Constants stored behind the FlatBuffer, as in every file over 2 GB."""
    inline, external = FILES / f"{name}.tflite", tmp_path / "external.tflite"
    external.write_bytes(_externalized(inline.read_bytes()))
    one, other = read_graph(inline), read_graph(external)
    assert other.external_buffers() and not one.external_buffers()
    assert count_weights(external) == count_weights(inline) != ()
    assert (other.parameters, other.multiply_adds, other.precision) == (
        *(one.parameters, one.multiply_adds, one.precision),
    )
    x = np.array([[1, 2, 3, -1]], np.float32)
    y = LiteRTModel(inline).predict(x)
    np.testing.assert_array_equal(LiteRTModel(external).predict(x), y)
    probed = probe(external)
    add_metadata(
        external,
        name="net",
        description="",
        inputs=probed.inputs,
        outputs=probed.outputs,
        ranges={},
        class_names=(),
    )
    np.testing.assert_array_equal(LiteRTModel(external).predict(x), y)
    assert count_weights(external) == count_weights(inline)


def _externalized(content):
    """Moves all constants of a file behind its FlatBuffer."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    data = {i: bytes(b.data) for i, b in enumerate(model.buffers) if b.data is not None}

    def packed(offsets):
        for i, offset in offsets.items():
            model.buffers[i].data = None
            model.buffers[i].offset, model.buffers[i].size = offset, len(data[i])
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    kept = {i: d for i, d in data.items() if len(d) > 1}
    place = len(packed(dict.fromkeys(kept, 1 << 20)))
    offsets, tail = {}, b""
    for i, d in kept.items():
        tail += b"\0" * (-(place + len(tail)) % 16)
        offsets[i] = place + len(tail)
        tail += d
    return packed(offsets) + tail


@pytest.mark.filterwarnings("ignore::keras_distill.KerasDistillWarning")
def test_a_type_that_is_not_supported_is_named(tmp_path):
    net, _ = model()
    made = export_all(net, tmp_path, quantizations=["weight-only-int4"], stem="net")
    assert not made.impossible
    graph = read_graph(tmp_path / "net-weight-only-int4.tflite")
    assert graph.precision == "weight-only-int4"
    with pytest.raises(InputError, match=r"stores its weights as int4\. Supported: float32"):
        count_weights(tmp_path / "net-weight-only-int4.tflite")
