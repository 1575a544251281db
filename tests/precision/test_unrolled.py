"""The int8 file of a recurrent network, whose loops crash the converter."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill.export import _session
from keras_distill.export._converter_process import Converted
from keras_distill.precision import _unrolled
from keras_distill.records import ExportRecord

layers = keras.layers
UNROLLED = "int8, loops unrolled"


@pytest.mark.filterwarnings("ignore::keras_distill.KerasDistillWarning")
def test_loops_that_crash_the_converter_are_unrolled(tmp_path, monkeypatch):
    """tests/export has the crash itself; here, only the unrolled network is converted."""
    real, asked = _session.run_converter, []

    def crashing(request, names, *, timeout):
        asked.append(names)
        if len(asked) == 1:
            return {name: Converted(None, "the converter crashed", 0.0, True) for name in names}
        return real(request, names, timeout=timeout)

    monkeypatch.setattr(_session, "run_converter", crashing)
    keras.utils.set_random_seed(0)
    frames = keras.Input((2, 4), name="frames")
    model = keras.Model(frames, layers.Dense(3, name="logits")(layers.LSTM(8)(frames)))
    x = np.random.default_rng(0).normal(size=(200, 2, 4)).astype("float32")
    y = model.predict(x, verbose=0).argmax(axis=1)
    file = tmp_path / "net.tflite"
    record = kd.export_tflite(model, file, quantization="auto", data=(x, y), max_drop=5)
    assert asked[1:] == [["int8"]]
    candidates = {one.name: one for one in record.precision.candidates}
    assert candidates["int8"].outcome == "not supported"
    assert candidates["int8"].reasons == ("the converter crashed",)
    assert record.precision.chosen == UNROLLED and candidates[UNROLLED].drop <= 5
    assert record.recipe.unrolled and record.recipe.quantization == "int8"
    assert record.verification.passed and "WHILE" not in record.ops
    assert record.inputs[0].dtype == "int8" and record.inputs[0].name == "frames"
    assert ExportRecord.load(tmp_path / "net.tflite.json") == record


def test_nothing_is_unrolled_where_int8_works_or_there_is_no_loop():
    loop = keras.Sequential([keras.Input((3, 2)), layers.LSTM(2)])
    plain = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
    for model, tried in (
        (loop, {}),
        (loop, {"int8": SimpleNamespace(file="int8.tflite")}),
        (plain, {"int8": SimpleNamespace(file=None)}),
    ):
        session = SimpleNamespace(prepared=SimpleNamespace(source=kd.export.resolve(model)))
        search = SimpleNamespace(tried=tried, convert=pytest.fail)
        _unrolled.add_unrolled(search, session)
