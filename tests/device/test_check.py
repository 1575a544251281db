import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_distill._internal import InputError, MissingExtraError
from keras_distill.device import _tflm, check_device, parse_targets
from keras_distill.device._check import random_rows, spaced
from keras_distill.litert import TensorSpec
from keras_distill.records import DeviceRecord

FILES = Path(__file__).parents[1] / "golden/tflite"

pytest.importorskip("tflite_micro", reason="needs keras-distill[micro]")
pytest.importorskip("ethosu", reason="needs keras-distill[micro]")


@pytest.fixture(scope="module")
def int8():
    return check_device(FILES / "int8.tflite", ["tflm", "ethos-u55-128", "xnnpack"], samples=100)


@pytest.fixture(scope="module")
def mixed():
    """An int8 operator, then DEQUANTIZE and GELU in float32."""
    return check_device(FILES / "mixed.tflite", ["tflm", "ethos-u55-128", "xnnpack"], samples=10)


def test_the_microcontroller_runs_an_int8_file(int8):
    found = int8.result("tflm")
    assert found.runs and found.operators == 1
    assert 0 < found.arena.head < found.arena.tail
    assert found.arena.total == found.arena.head + found.arena.tail <= found.arena.needed < 4096
    (output,) = found.outputs
    assert (output.name, output.unit) == ("logits", "steps")
    for found in (output.litert, output.reference):
        assert found.largest <= 1 and found.equal >= 0.9
    assert output.agreement >= 0.9


def test_the_npu_takes_an_int8_file(int8):
    found = int8.result("ethos-u55-128")
    assert found.runs and found.on_npu == found.operators == 1 and found.on_cpu == {}
    assert (found.multiply_adds, found.multiply_adds_on_cpu) == (12, 0)
    assert found.cycles > 0 and found.clock_hz == 500e6
    assert found.milliseconds == pytest.approx(found.cycles / 500e3)
    assert found.sram_bytes > 0 and found.flash_bytes > 0


def test_xnnpack_takes_an_int8_file(int8):
    found = int8.result("xnnpack")
    assert (found.taken, found.left) == (1, {})
    assert {name: (p.operators, p.taken) for name, p in found.by_precision.items()} == {
        "int8": (1, 1)
    }


def test_the_record_is_read_back_and_needs_no_tensorflow(int8, tmp_path):
    path = int8.save(tmp_path / "device.json")
    assert DeviceRecord.load(path) == int8
    code = f"import sys; from keras_distill.records import DeviceRecord as D; D.load({str(path)!r})"
    code += "; import keras_distill.device; print('tensorflow' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_operators_that_are_not_supported_are_named(mixed):
    micro, npu = mixed.result("tflm"), mixed.result("ethos-u55-128")
    assert (micro.runs, micro.operator, micro.arena) == (False, "GELU", None)
    assert "GELU" in micro.reason
    assert npu.runs and npu.on_cpu == {"DEQUANTIZE": 1, "GELU": 1} and npu.on_npu == 1
    assert sum(npu.reasons.values()) == 2
    assert mixed.failures == [f"tflm: {micro.refusal()}"]
    assert mixed.result("xnnpack").by_precision["float32"].operators == 2


@pytest.mark.parametrize(
    ("name", "operator"),
    [("uint8", "FULLY_CONNECTED"), ("float", None), ("open_batch", None), ("two", None)],
)
def test_files_of_other_kinds(name, operator):
    found = check_device(FILES / f"{name}.tflite", ["tflm"], samples=5).result("tflm")
    assert (found.runs, found.operator) == (operator is None, operator)
    for output in found.outputs:  # also of several inputs and outputs in another order
        assert output.litert.largest < 1e-6


def test_a_crash_of_the_compiler_is_a_result(monkeypatch, tmp_path):
    from keras_distill.device import _ethos

    def crash(self, method, **arguments):
        raise _ethos.ChildError("crashed (SIGFPE)", "", signal="SIGFPE")

    monkeypatch.setattr(_ethos.Child, "ask", crash)
    found = _ethos.compile_for_npu(FILES / "int8.tflite", "ethos-u55-128")
    assert (found.runs, found.reason) == (False, "Vela crashed (SIGFPE)")


def test_a_clock_changes_the_time_and_not_the_cycles(int8):
    slow = check_device(FILES / "int8.tflite", ["ethos-u55-128"], clock_mhz=100)
    found, before = slow.result("ethos-u55-128"), int8.result("ethos-u55-128")
    assert found.cycles == before.cycles
    assert found.milliseconds == pytest.approx(5 * before.milliseconds)


def test_differences_are_counted_by_row():
    nan = np.array([[np.nan, 1.0]], np.float32)
    assert _tflm.difference(nan, nan).model_dump() == {"equal": 1.0, "largest": None}
    a = np.array([[-128], [0]], np.int8)
    b = np.array([[127], [0]], np.int8)
    assert _tflm.difference(a, b).model_dump() == {"equal": 0.5, "largest": 255.0}
    with pytest.raises(InputError, match="different shapes"):
        _tflm.difference(a, a[:1])


def test_random_rows_cover_the_range_of_each_input():
    specs = [
        TensorSpec("q", (1, 50), "int8", 0.1, 3),
        TensorSpec("real", (None, 50), "float32", None, None),
        TensorSpec("ids", (1, 50), "int32", None, None),
    ]
    rows = random_rows(specs, 100)
    assert (rows["q"].min(), rows["q"].max(), rows["q"].dtype) == (-128, 127, np.int8)
    assert -1 <= rows["real"].min() < -0.9 and rows["real"].shape == (100, 50)
    assert set(np.unique(rows["ids"])) == {0, 1}
    np.testing.assert_array_equal(rows["q"], random_rows(specs, 100)["q"])
    large = [TensorSpec("x", (1, 1 << 22), "float32", None, None)]
    assert len(random_rows(large, 100)["x"]) == 2


def test_rows_are_evenly_spaced():
    x = np.arange(10)
    np.testing.assert_array_equal(spaced(x, 4), [0, 3, 6, 9])
    np.testing.assert_array_equal(spaced({"a": x}, 100)["a"], x)


def test_targets():
    assert parse_targets([]) == ("tflm", "ethos-u55-128", "xnnpack")
    with pytest.raises(InputError, match="`targets` must be one of tflm, xnnpack, ethos-u55-32"):
        parse_targets(["tflm", "esp32"])


@pytest.mark.parametrize(("target", "module"), [("tflm", "tflite_micro"), ("arm", "ethosu")])
def test_a_missing_extra_has_the_pip_command(target, module, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == module else real(n, *a)
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'keras-distill\[micro\]'"):
        check_device(FILES / "int8.tflite", [target])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": 0}, "`samples`"),
        ({"clock_mhz": 0}, "`clock_mhz`"),
        ({"split": "all"}, "`split`"),
        ({"data": np.ones((3, 5), np.float32)}, "`data`"),
    ],
)
def test_bad_arguments(change, words):
    with pytest.raises(InputError, match=words):
        check_device(FILES / "int8.tflite", ["xnnpack"], **change)
