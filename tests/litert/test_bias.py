"""Biases take back the shift that rounded weights cause; what is no rounding keeps its bias."""

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_distill.export import Session, prepare, resolve
from keras_distill.export._options import ExportOptions
from keras_distill.litert import LiteRTModel, Quantizer, Rule, _quantizer, read_graph
from keras_distill.litert._bias import correct_biases, input_means

layers = keras.layers


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """The float32 file of a network of all kinds of operators, with inputs far from 0, and rows."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3), name="image"),
            layers.Conv2D(4, 3, activation="relu"),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.Flatten(),
            layers.Dense(5, activation="relu"),
            layers.Dense(5, name="logits"),  # its bias is that of the layer before, stored once
        ]
    )
    for layer in model.layers:
        if layer.weights:
            layer.bias.assign(np.linspace(0.1, 1, layer.bias.shape[0]))  # one of 0 is left out
    rows = np.random.default_rng(0).normal(100, 10, (64, 6, 6, 3)).astype("float32")
    folder = tmp_path_factory.mktemp("bias")
    prepared = prepare(resolve(model), ExportOptions(calibration=rows), integer=True)
    with Session(prepared) as session:
        made = session.convert(["float32"])["float32"].path
        (folder / "float32.tflite").write_bytes(made.read_bytes())
    np.savez(folder / "rows.npz", image=rows)
    return folder / "float32.tflite", rows


@pytest.mark.parametrize("kind", ["weight-only-int8", "weight-only-int4", "dynamic-int8", "int8"])
def test_the_mean_of_the_outputs_comes_back(net, tmp_path, kind):
    source, rows = net
    expected = LiteRTModel(source).predict(rows)
    shifts = []
    with Quantizer(source, source.with_name("rows.npz"), batch_size=1, timeout=60) as quantizer:
        for correct in (False, True):
            out = tmp_path / f"{correct}.tflite"
            quantizer.quantize(out, [Rule(kind)], float_io=True, correct=correct)
            change = LiteRTModel(out).predict(rows) - expected
            shifts.append(float(np.abs(change.mean(axis=0)).max()))
    assert shifts[1] < shifts[0] / 3
    sizes = [(tmp_path / f"{correct}.tflite").stat().st_size for correct in (False, True)]
    assert abs(sizes[1] - sizes[0]) < 300


def test_only_rounded_weights_are_corrected(net, tmp_path):
    source, rows = net
    means = input_means(str(source), [{"image": row[None]} for row in rows])
    assert [mean.shape for mean in means] == [(3,), (4,), (8 * 2 * 2,), (5,)]
    biases = {op.inputs[2] for op in read_graph(source).subgraphs[0].ops if len(op.inputs) > 2}
    assert len(biases) == 3
    np.testing.assert_allclose(means[0], rows.mean(axis=(0, 1, 2)), rtol=1e-5)
    with Quantizer(source, None, batch_size=1, timeout=60) as quantizer:
        scopes = tuple(op.scope for op in quantizer.operators if op.operation == "CONV_2D")
        for rules, changed in (
            ([Rule("weight-only-int8")], 4),
            ([Rule("weight-only-int8"), Rule("float32", scopes)], 3),
            ([Rule("float16", scopes)], 0),
        ):
            out = tmp_path / "some.tflite"
            quantizer.quantize(out, rules)
            before = Path(out).read_bytes()
            assert correct_biases(str(source), str(out), means) == changed
            assert (Path(out).read_bytes() == before) == (changed == 0)
    swapped = [mean * 0 for mean in means]  # inputs of mean 0 shift nothing
    correct_biases(str(source), str(out), swapped)
    assert Path(out).read_bytes() == before


def test_rows_that_do_not_fill_a_batch_correct_nothing(net, tmp_path):
    source, rows = net
    np.savez(tmp_path / "none.npz", image=rows[:0])
    contents = []
    with Quantizer(source, tmp_path / "none.npz", batch_size=1, timeout=60) as quantizer:
        for correct in (False, True):
            out = tmp_path / f"{correct}.tflite"
            quantizer.quantize(out, [Rule("dynamic-int8")], correct=correct)
            contents.append(out.read_bytes())
    assert contents[0] == contents[1]


def test_the_quantizer_takes_no_memory_of_a_gpu(net, monkeypatch):
    started = []
    monkeypatch.setattr(_quantizer, "Child", lambda *_, **options: started.append(options))
    with pytest.raises(AttributeError):  # there is no child
        Quantizer(net[0], None, batch_size=1, timeout=60).measure([])
    assert [one["environment"] for one in started] == [{"CUDA_VISIBLE_DEVICES": "-1"}]
