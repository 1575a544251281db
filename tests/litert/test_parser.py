from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.litert import count_weights, read_graph

layers = keras.layers
FILES = Path(__file__).parents[1] / "golden/tflite"


@pytest.mark.parametrize(
    ("name", "precision"),
    [("float", "float32"), ("open_batch", "float32"), ("int8", "int8"), ("uint8", "uint8")],
)
def test_known_files(name, precision):
    graph = read_graph(FILES / f"{name}.tflite")
    assert (graph.parameters, graph.multiply_adds, graph.precision) == (15, 12, precision)


def test_elementwise_operators_count_nothing():
    graph = read_graph(FILES / "two.tflite")
    assert (graph.parameters, graph.multiply_adds) == (0, 0)


def test_damage(tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes((FILES / "float.tflite").read_bytes()[:200])
    with pytest.raises(InputError, match=r"cut\.tflite: damaged .tflite file"):
        read_graph(path)


def _facts(path):
    graph = read_graph(path)
    return graph.parameters, graph.multiply_adds, graph.precision, graph.custom_ops


def test_bytes_changed_anywhere_give_an_answer_or_an_input_error(tmp_path):
    path, random = tmp_path / "net.tflite", np.random.default_rng(0)
    content = (FILES / "int8.tflite").read_bytes()
    refused = 0
    for place in range(8, len(content)):
        changed = bytearray(content)
        changed[place] ^= random.integers(1, 256)
        path.write_bytes(changed)
        for read in (_facts, lambda path: read_graph(path).ops, count_weights):
            try:
                read(path)
            except InputError:
                refused += 1
    assert refused > 100


def _convert(net, path, batch, *, dynamic=False):
    shape = (batch, *net.inputs[0].shape[1:])
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="x")]
    net.export(path / "m", verbose=False, input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path / "m"))
    if dynamic:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    (path / "net.tflite").write_bytes(converter.convert())
    return read_graph(path / "net.tflite")


@pytest.mark.parametrize("batch", [1, 4])
def test_convolutions_by_hand(tmp_path, batch):
    net = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(5, 3, padding="same"),  # 64 places x 3·3·3·5
            layers.DepthwiseConv2D(3),  # 36 places x 3·3·5
            layers.Conv2DTranspose(2, 2, strides=2),  # 36 places in x 2·2·5·2
            layers.Flatten(),
            layers.Dense(7),  # 288 x 7
        ]
    )
    facts = _convert(net, tmp_path, batch)
    assert facts.multiply_adds == 64 * 135 + 36 * 45 + 36 * 40 + 288 * 7
    biases_that_are_zero = 5 + 5 + 2 + 7
    assert net.count_params() - biases_that_are_zero <= facts.parameters <= net.count_params()


def test_a_loop_counts_as_often_as_it_runs(tmp_path):
    net = keras.Sequential([keras.Input((9, 6)), layers.LSTM(16), layers.Dense(3)])
    facts = _convert(net, tmp_path, 1, dynamic=True)
    # 9 steps of four verifications from 6 inputs and 16 states, then the last layer.
    assert facts.multiply_adds == 9 * 4 * 16 * (6 + 16) + 16 * 3
    assert facts.precision == "dynamic"


def test_attention(tmp_path):
    x = keras.Input((10, 8), name="x")
    net = keras.Model(x, layers.MultiHeadAttention(2, 4, use_bias=False)(x, x))
    facts = _convert(net, tmp_path, 1)
    # Four projections 8 -> 8 of 10 rows; scores and sums, two heads of 4.
    assert facts.multiply_adds == 4 * 10 * 64 + 2 * (2 * 10 * 10 * 4)
    assert facts.parameters == pytest.approx(net.count_params(), abs=1)
    assert np.issubdtype(type(facts.parameters), np.integer) or isinstance(facts.parameters, int)
