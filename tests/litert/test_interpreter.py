import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_distill._internal import InputError
from keras_distill.litert import LiteRTModel, TensorSpec, read_graph

FILES = Path(__file__).parents[1] / "golden/tflite"
X = np.array([[1, 2, 3, -1], [0.5, 0, 0, 1], [0, 1, 0, 0]], np.float32)
# W x + b with the constants of golden/make_tflite.py.
Y = np.array([[-3.5, 5.5, -3.0], [3.0, -1.5, 2.0], [0.5, 0.5, -2.0]], np.float32)


@pytest.mark.parametrize("name", ["float", "open_batch", "unsigned", "int8"])
def test_known_values(name):
    np.testing.assert_array_equal(LiteRTModel(FILES / f"{name}.tflite").predict(X), Y)


def test_names_come_from_the_signature_or_the_graph():
    model = LiteRTModel(FILES / "int8.tflite")
    assert model.inputs == (TensorSpec("image", (1, 4), "int8", 1 / 32, 0),)
    assert model.outputs == (TensorSpec("logits", (1, 3), "int8", 1 / 8, 0),)
    assert LiteRTModel(FILES / "open_batch.tflite").inputs[0].shape == (None, 4)
    unsigned = LiteRTModel(FILES / "unsigned.tflite")
    assert (unsigned.inputs[0].name, unsigned.outputs[0].name) == ("x", "y")


def test_real_values_are_quantized_and_clipped():
    model = LiteRTModel(FILES / "int8.tflite")
    # The input spans -4..3.97; beyond, the nearest end is taken. 3.97 is 127 steps of 1/32.
    far, end = np.full((1, 4), 1e6), np.full((1, 4), 127 / 32)
    np.testing.assert_array_equal(model.predict(far), model.predict(end))


def test_an_array_of_the_inputs_own_dtype_is_quantized_already():
    model = LiteRTModel(FILES / "int8.tflite")
    q = (X * 32).astype(np.int8)
    np.testing.assert_array_equal(model.predict(q), Y)
    pixels = LiteRTModel(FILES / "uint8.tflite")
    x = np.array([[10, 0, 2, 30]])
    np.testing.assert_array_equal(pixels.predict(x.astype(np.uint8)), pixels.predict(x * 1.0))
    # 10 - 2 + 60 + .5 = 68.5; 2 - 30 - .5 = -28.5; 20 + 30 = 50: to the nearest step of 4.
    np.testing.assert_allclose(pixels.predict(x * 1.0), [[68.5, -28.5, 50]], atol=2.5)


def test_batches_give_what_single_rows_give():
    x = np.random.default_rng(0).normal(size=(70, 4)).astype(np.float32)
    fixed = LiteRTModel(FILES / "float.tflite")
    expected = np.concatenate([fixed.predict(row[None]) for row in x])
    for size in (1, 3, 64, 70, 500):
        model = LiteRTModel(FILES / "open_batch.tflite")
        np.testing.assert_allclose(model.predict(x, batch_size=size), expected, rtol=1e-6)
    np.testing.assert_array_equal(fixed.predict(x), expected)


def test_resize_batch():
    model = LiteRTModel(FILES / "float.tflite")
    assert model.resize_batch(2)
    np.testing.assert_array_equal(model.predict(X), Y)  # 3 rows: the last call is filled up


def test_several_inputs_go_by_name():
    model = LiteRTModel(FILES / "two.tflite")
    y = model.predict({"left": X, "right": 2 * X})
    np.testing.assert_array_equal(y["sum"], 3 * X)
    np.testing.assert_array_equal(y["difference"], -X)
    with pytest.raises(InputError, match="Pass a dict by input name"):
        model.predict((X, X))
    with pytest.raises(InputError, match=r"takes the inputs \['left', 'right'\]. Received"):
        model.predict({"left": X})
    with pytest.raises(InputError, match=r"one length >= 1. Received lengths: \[2, 3\]"):
        model.predict({"left": X, "right": X[:2]})


@pytest.mark.parametrize(
    "x", [X[:, :3], X[0], X.astype(str), np.zeros((2, 4), complex)], ids=["width", "rank", "s", "c"]
)
def test_rows_that_do_not_fit(x):
    with pytest.raises(InputError, match=r"`image` must be an array of numbers of shape \(n, 4\)"):
        LiteRTModel(FILES / "float.tflite").predict(x)


def test_no_rows():
    with pytest.raises(InputError, match="one length >= 1"):
        LiteRTModel(FILES / "float.tflite").predict(X[:0])


def test_operators():
    assert read_graph(FILES / "two.tflite").ops == {"ADD": 1, "SUB": 1}
    assert read_graph(FILES / "flex.tflite").ops == {"FlexErf": 1}
    assert read_graph(FILES / "flex.tflite").custom_ops == ["FlexErf"]
    assert read_graph(FILES / "float.tflite").custom_ops == []
    assert LiteRTModel(FILES / "float.tflite").ops == {"FULLY_CONNECTED": 1}


def test_flex_operators_are_named():
    with pytest.raises(InputError, match="operators that LiteRT does not know: FlexErf"):
        LiteRTModel(FILES / "flex.tflite")


def test_what_is_no_tflite_file(tmp_path):
    text = tmp_path / "text.tflite"
    text.write_text("a long text that somebody renamed")
    with pytest.raises(InputError, match="no TFL3 mark"):
        LiteRTModel(text)
    with pytest.raises(InputError, match="no such file"):
        LiteRTModel(tmp_path / "missing.tflite")
    with pytest.raises(InputError, match="is a folder, not a file"):
        LiteRTModel(tmp_path)
    cut = tmp_path / "cut.tflite"
    cut.write_bytes((FILES / "float.tflite").read_bytes()[:100])
    with pytest.raises(InputError, match=r"cut\.tflite: damaged"):
        read_graph(cut)


def test_threads_are_checked(tmp_path):
    shutil.copy(FILES / "float.tflite", tmp_path / "a.tflite")
    with pytest.raises(InputError, match="`threads` must be a whole number >= 1"):
        LiteRTModel(tmp_path / "a.tflite", threads=0)
    with pytest.raises(InputError, match="`threads` must be <= 1024"):
        LiteRTModel(tmp_path / "a.tflite", threads=10**9)


def test_litert_logs_no_note_on_its_delegate():
    """It prints one per process, so this needs a process of its own."""
    code = "import sys; from keras_distill.litert import LiteRTModel; LiteRTModel(sys.argv[1])"
    command = [sys.executable, "-c", code, FILES / "float.tflite"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
