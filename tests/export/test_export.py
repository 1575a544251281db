import zipfile

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill._internal import (
    InputError,
    KerasDistillWarning,
    VerificationError,
    _files,
)
from keras_distill.export import (
    QUANTIZATIONS,
    KerasSource,
    _session,
    export_all,
    record_path,
    unrolled,
)
from keras_distill.export._converter_process import Converted
from keras_distill.litert import LiteRTModel
from keras_distill.records import ExportRecord

layers = keras.layers
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (80, 8, 8, 3)).astype(np.uint8)
LABELS = RANDOM.integers(0, 5, 80)

pytestmark = pytest.mark.filterwarnings("ignore::keras_distill.KerasDistillWarning")


def _attention():
    keras.utils.set_random_seed(0)
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 8)(tokens)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    return keras.Model(tokens, layers.Dense(3, name="logits")(layers.GlobalAveragePooling1D()(x)))


def test_every_precision_is_made(exported):
    folder, result = exported.folder, exported.result
    assert result.summary() == dict.fromkeys(QUANTIZATIONS, "made")
    names = {path.name for path in folder.iterdir()}
    files = {f"net-{name}.tflite" for name in QUANTIZATIONS}
    assert names == files | {f"{name}.json" for name in files}  # and nothing half-made


@pytest.mark.parametrize("name", QUANTIZATIONS)
def test_each_file_computes_what_keras_computes(exported, name):
    model, folder, result = exported.model, exported.folder, exported.result
    y = LiteRTModel(folder / f"net-{name}.tflite").predict(exported.pixels)
    expected = model.predict(exported.pixels, verbose=0)
    found = np.abs(y - expected).max()
    figures = result.exports[name].verification.outputs[0]
    assert found == pytest.approx(figures.max_difference, rel=0.02, abs=1e-6)
    spread = np.ptp(expected)
    bound = {"float32": 1e-5, "float16": 0.005, "weight-only-int4": 0.4}.get(name, 0.05)
    assert found / spread < bound


def test_the_record_beside_the_file(exported):
    model, folder, result = exported.model, exported.folder, exported.result
    record = kd.ExportRecord.load(record_path(folder / "net-int8.tflite"))
    assert record == result.exports["int8"]
    path = folder / record.file
    assert (record.bytes, record.sha256) == (path.stat().st_size, _files.sha256(path))
    assert record.ops == LiteRTModel(path).ops
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"} <= set(record.ops)
    assert record.inputs[0].name == "image" and record.inputs[0].shape == (1, 8, 8, 3)
    assert record.outputs[0].name == "logits"
    assert record.class_names == exported.names
    assert record.preprocessing.endswith("feed raw values of 0..255")
    assert record.model.parameters == model.count_params()
    assert record.recipe.calibration.samples == 80
    assert record.recipe.calibration.ranges["image"] == (0.0, 255.0)
    assert record.verification.samples == 80 and record.verification.source == "data given"
    assert record.verification.outputs[0].accuracy is not None
    assert "tensorflow" in record.versions


def test_integers_in_and_out(exported):
    result = exported.result
    dtypes = {
        name: (record.inputs[0].dtype, record.outputs[0].dtype)
        for name, record in result.exports.items()
    }
    assert dtypes.pop("int8") == ("int8", "int8")
    assert dtypes.pop("int16x8") == ("int16", "int16")
    assert set(dtypes.values()) == {("float32", "float32")}
    # 0..255 in steps of 1: raw pixels lose nothing.
    assert result.exports["int8"].inputs[0].scale == pytest.approx(1, abs=0.01)


def test_labels_are_in_the_file(exported):
    folder = exported.folder
    with zipfile.ZipFile(folder / "net-int8.tflite") as archive:
        assert archive.read("labels.txt").decode().split() == list(exported.names)


def test_attention_has_no_int16x8_and_the_others_do_not_mind(tmp_path):
    tokens = RANDOM.integers(0, 20, (60, 6))
    names = ("float32", "int8", "int16x8", "weight-only-int8")
    result = export_all(_attention(), tmp_path, quantizations=names, calibration=tokens, stem="net")
    assert set(result.exports) == {"float32", "int8", "weight-only-int8"}
    assert result.impossible["int16x8"].startswith("int16x8 needs the range of every tensor")
    assert not (tmp_path / "net-int16x8.tflite").exists()
    assert result.exports["int8"].inputs[0].dtype == "int32"  # tokens stay tokens


def _lstm(steps=5):
    keras.utils.set_random_seed(0)
    frames = keras.Input((steps, 3), name="frames")
    x = layers.Bidirectional(layers.LSTM(3))(frames) if steps is None else layers.LSTM(4)(frames)
    return keras.Model(frames, layers.Dense(2, name="logits")(x))


FRAMES = RANDOM.normal(size=(60, 5, 3)).astype(np.float32)


def test_the_loops_of_an_lstm_that_crash_the_converter_are_unrolled(tmp_path):
    names, given = ("int8", "float32"), {"calibration": FRAMES, "data": FRAMES}
    result = export_all(_lstm(), tmp_path, quantizations=names, stem="net", **given)
    assert result.summary() == {"float32": "made", "int8": "made"}
    int8, float32 = result.exports["int8"], result.exports["float32"]
    assert int8.recipe.unrolled and not float32.recipe.unrolled
    assert "WHILE" in float32.ops and "WHILE" not in int8.ops
    words = "the converter crashed on the loops of recurrent layers while making int8: the loops"
    assert any(text.startswith(words) for text in int8.warnings) and float32.warnings == ()
    assert int8.inputs[0].dtype == "int8" and int8.inputs[0].name == "frames"


def test_what_cannot_be_unrolled_becomes_dynamic(tmp_path, monkeypatch):
    real = _session.run_converter

    def crashing(request, names, *, timeout):
        if "int8" in names:
            return {name: Converted(None, "the converter crashed", 0.0, True) for name in names}
        return real(request, names, timeout=timeout)

    monkeypatch.setattr(_session, "run_converter", crashing)
    path, given = tmp_path / "net.tflite", {"calibration": FRAMES, "data": FRAMES}
    with pytest.warns(KerasDistillWarning, match="did not help: the file is dynamic"):
        record = kd.export_tflite(_lstm(), path, quantization="int8", **given)
    assert (record.recipe.quantization, record.recipe.asked) == ("dynamic", "int8")
    assert ExportRecord.load(record_path(path)) == record and "WHILE" in record.ops
    # What is no recurrent network stays an error.
    plain = keras.Sequential([keras.Input((5, 3)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(InputError, match="the converter crashed"):
        kd.export_tflite(plain, tmp_path / "plain.tflite", quantization="int8", **given)
    assert not (tmp_path / "plain.tflite").exists()


def test_unrolling_keeps_the_outputs_and_knows_what_it_cannot_do():
    source = KerasSource(_lstm())
    straight = unrolled(source)
    assert straight is not None and straight.model.layers[1].unroll
    rows = {"frames": FRAMES[:8]}
    np.testing.assert_allclose(
        straight.predict(rows)["logits"], source.predict(rows)["logits"], atol=1e-6
    )
    assert unrolled(KerasSource(_lstm(None))) is None  # of any number of steps
    both = keras.Sequential([keras.Input((5, 3)), layers.Bidirectional(layers.GRU(2))])
    again = unrolled(KerasSource(both))
    assert again is not None and again.model.layers[0].backward_layer.unroll


def test_two_inputs_two_outputs_open_batch_float_io(tmp_path):
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    x = layers.Concatenate()([left, layers.Dense(3)(right)])
    net = keras.Model(
        [left, right],
        {"kind": layers.Dense(3, activation="softmax")(x), "age": layers.Dense(1)(x)},
    )
    rows = {name: RANDOM.normal(size=(60, 4)).astype(np.float32) for name in ("left", "right")}
    path = tmp_path / "net.tflite"
    record = kd.export_tflite(
        net, path, quantization="int8", calibration=rows, batch_size=None, io="float32"
    )
    assert {i.name for i in record.inputs} == {"left", "right"}
    assert {o.name: o.shape for o in record.outputs} == {"age": (None, 1), "kind": (None, 3)}
    assert {i.dtype for i in record.inputs} == {"float32"} and record.recipe.io == "float32"
    y = LiteRTModel(path).predict(rows)
    expected = net.predict([rows["left"], rows["right"]], verbose=0)
    np.testing.assert_allclose(y["kind"], expected["kind"], atol=0.05)
    np.testing.assert_allclose(y["age"], expected["age"], atol=0.15)


def _wide():
    """784 inputs: the first layer that Keras's int4 packs in blocks."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((784,)), layers.Dense(32, activation="relu"), layers.Dense(10)], name="wide"
    )


def test_a_model_that_converts_to_wrong_values_is_refused(tmp_path):
    net = _wide()
    net.quantize("int4")
    with pytest.raises(
        VerificationError, match=r"net.tflite fails verification: output 'dense.*' differs fro"
    ):
        kd.export_tflite(net, tmp_path / "net.tflite")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_file_is_kept_on_request_and_its_record_says_so(tmp_path, converted_before):
    path = tmp_path / "net.tflite"
    limits = {"weight-only-int4": 1e-6}
    with pytest.raises(VerificationError, match="use weight-only-int8"):
        kd.export_tflite(
            converted_before,
            path,
            quantization="weight-only-int4",
            limits=limits,
            keep_failed=True,
        )
    record = kd.ExportRecord.load(record_path(path))
    assert not record.verification.passed and "limit 0.0%" in record.verification.failures[0]
    assert LiteRTModel(path).inputs[0].shape == (1, 8, 8, 3)


def test_sparse_leaves_zeros_out_and_says_nothing(tmp_path, capfd):
    net = _wide()
    kernel, *rest = net.get_weights()
    # Blocks of zeros, as structured pruning leaves them.
    kernel[32:] = 0
    net.set_weights([kernel, *rest])
    sparse = kd.export_tflite(net, tmp_path / "sparse.tflite", sparse=True)
    assert sparse.bytes < net.count_params() * 4 / 3
    assert sparse.recipe.sparse and sparse.verification.verdict == "not verified on data"
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quantization": "int4"}, "`quantization` must be one of float32, float16"),
        ({"quantization": "int8"}, r"int8 needs `calibration` \(--calibration\)"),
        ({"quantization": "dynamic", "sparse": True}, "a sparse dynamic file does not load"),
        ({"max_drop": 1}, "`max_drop` needs labeled rows"),
        ({"max_drop": -1}, "`max_drop` must be in 0..100"),
        ({"max_drop": 1, "data": PIXELS}, "`max_drop` needs `data` with labels"),
        ({"data": (PIXELS, LABELS[:, None] + [0, 1])}, "must be class ids"),
        ({"data": (PIXELS, LABELS * 0 - 1)}, "no labeled row"),
        ({"batch_size": 0}, "`batch_size` must be a whole number >= 1"),
        ({"batch_size": 10**9}, "`batch_size` must be <= 65536"),
        ({"io": "int8"}, "`io` must be one of integer, float32"),
        ({"limits": {"int9": 1}}, "`limits` must be one of"),
        ({"limits": {"int8": 0}}, "must be > 0"),
        ({"timeout": 0}, "`timeout` must be > 0"),
        ({"data": PIXELS[..., :2]}, r"rows of shape \(8, 8, 3\)"),
        (
            {"quantization": "int8", "calibration": PIXELS / 255},
            "They look scaled already",
        ),
        (
            {"quantization": "int8", "calibration": PIXELS, "data": PIXELS / 255.0},
            "must have the same units",
        ),
    ],
)
def test_bad_settings_are_told_before_anything_is_converted(exported, tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        kd.export_tflite(exported.model, tmp_path / "net.tflite", **settings)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_setting_is_a_type_error(exported, tmp_path):
    with pytest.raises(TypeError, match="precision"):
        kd.export_tflite(exported.model, tmp_path / "net.tflite", precision="int8")


def test_export_all_wants_a_list(exported, tmp_path):
    for wrong in ("int8", [], ()):
        with pytest.raises(InputError, match="`quantizations` must be a list of precisions"):
            export_all(exported.model, tmp_path, quantizations=wrong)
    with pytest.raises(InputError, match="`stem` must be letters"):
        export_all(exported.model, tmp_path, quantizations=["float32"], stem="../net")
