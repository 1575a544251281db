import json
import os
from pathlib import Path

import numpy as np
import pytest

from keras_distill.cli import main
from keras_distill.records import DeviceRecord

FILES = Path(__file__).parents[1] / "golden/tflite"
INT8, MIXED = str(FILES / "int8.tflite"), str(FILES / "mixed.tflite")


def test_outputs_and_record(tmp_path, capsys):
    pytest.importorskip("tflite_micro", reason="needs keras-distill[micro]")
    np.savez(tmp_path / "rows.npz", x_test=np.ones((9, 4), np.float32), y_test=np.arange(9) % 3,
             x_train=np.ones((9, 4), np.float32), y_train=np.arange(9) % 3)  # fmt: skip
    argv = ["device", INT8, "--target", "tflm", "--data", f"npz:{tmp_path / 'rows.npz'}"]
    out = tmp_path / "device.json"
    argv += ["--c-array", str(tmp_path / "c"), "--snippets", str(tmp_path / "code")]
    assert main([*argv, "-o", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "runs its operator" in shown and "on 9 rows" in shown
    record = DeviceRecord.load(out)
    assert record.samples == 9 and record.result("tflm").arena.needed > 0
    assert (
        f"kArenaSize = {record.result('tflm').arena.needed};"
        in (tmp_path / "c/model.h").read_text()
    )
    made = {p.name for p in (tmp_path / "code").iterdir()}
    assert {"int8.py", "int8.cc", "int8.kt", "int8.swift"} <= made
    assert (tmp_path / "code/int8.py").read_text() == record.snippets["Python"]
    assert main([*argv, "-o", str(out)]) == 2
    assert "exists" in capsys.readouterr().err


def test_a_target_that_does_not_take_the_file_is_exit_code_1(tmp_path, capsys):
    pytest.importorskip("tflite_micro", reason="needs keras-distill[micro]")
    out = tmp_path / "device.json"
    argv = ["device", MIXED, "--target", "tflm", "--samples", "3", "--json", "-o", str(out)]
    assert main(argv) == 1
    shown = capsys.readouterr()
    assert "tflm: GELU is not supported" in shown.err and shown.err.count("\n") == 1
    assert json.loads(shown.out)["results"][0]["operator"] == "GELU"
    assert DeviceRecord.load(out).failures


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["text.tflite"], "text.tflite: not a .tflite file"),
        (["cut.tflite"], "cut.tflite"),
        (["empty.tflite"], "empty.tflite: not a .tflite file"),
        (["none.tflite"], "no such file"),
        (["huge.tflite"], "at most 1073741824 are read"),
        (["pipe.tflite"], "pipe.tflite is a FIFO"),
        (["."], "is a folder"),
        ([str(FILES / "flex.tflite")], "does not know: FlexErf"),
        ([str(FILES / "variable.tflite")], "unfrozen variables"),
        ([INT8, "--target", "esp32"], "`targets` must be one of tflm, xnnpack"),
        ([INT8, "--clock", "-1"], "`clock_mhz` must be > 0"),
        ([INT8, "--samples", "0"], "`samples` must be a whole number >= 1"),
        ([INT8, "-o", "text.tflite"], "text.tflite exists"),
        ([INT8, "--c-array", "text.tflite"], "text.tflite is a file"),
        (
            [
                str(FILES / "two.tflite"),
                "--target",
                "xnnpack",
                "--c-array",
                "c",
                "--snippets",
                "code",
            ],
            "one input",
        ),
        ([], "Missing argument"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(argv, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.tflite").write_text("a text that was renamed")
    (tmp_path / "empty.tflite").write_bytes(b"")
    (tmp_path / "cut.tflite").write_bytes(Path(INT8).read_bytes()[:300])
    with (tmp_path / "huge.tflite").open("wb") as file:
        file.write(Path(INT8).read_bytes())
        file.truncate((1 << 30) + 1)  # sparse: takes no room on the disk
    os.mkfifo(tmp_path / "pipe.tflite")
    before = set(tmp_path.iterdir())
    assert main(["device", *argv]) == 2
    shown = capsys.readouterr()
    assert words in shown.err and shown.err.count("\n") == 1 and shown.out == ""
    assert set(tmp_path.iterdir()) == before


def test_missing_extra_is_one_line_and_leaves_nothing(capsys, tmp_path, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    hidden = ("tflite_micro", "ethosu")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n in hidden else real(n, *a)
    )
    for target in ("tflm", "ethos-u55-128"):
        out = str(tmp_path / "record.json")
        assert main(["device", INT8, "--target", target, "-o", out]) == 2
        shown = capsys.readouterr()
        assert "pip install 'keras-distill[micro]'" in shown.err and shown.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
