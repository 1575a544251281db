import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_distill.device import snippets
from keras_distill.litert import LiteRTModel
from keras_distill.records import TensorRecord

FILES = Path(__file__).parents[1] / "golden/tflite"
NAMES = ['q"uote', "b\\ack $slash", "é 語\n"]


def _of(name, classes=NAMES, file=None):
    model = LiteRTModel(FILES / f"{name}.tflite")
    tensors = [
        [TensorRecord(**s._asdict()) for s in every] for every in (model.inputs, model.outputs)
    ]
    return snippets(file or f"{name}.tflite", *tensors, classes)


@pytest.mark.parametrize("name", ["int8", "uint8", "float", "open_batch"])
def test_the_python_code_gives_what_the_interpreter_gives(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(FILES / f"{name}.tflite", tmp_path)
    names = {"__name__": "code"}
    exec(_of(name)["Python"], names)
    x = np.random.default_rng(0).uniform(-2, 2, (20, 4)).astype(np.float32)
    expected = LiteRTModel(FILES / f"{name}.tflite").predict(x)
    np.testing.assert_array_equal([names["predict"](row) for row in x], expected)
    assert names["CLASSES"] == [*NAMES[:2], "é 語 "]


def test_the_python_code_runs_as_a_program(tmp_path):
    shutil.copy(FILES / "int8.tflite", tmp_path / 'a "b".tflite')
    (tmp_path / "code.py").write_text(_of("int8", file='files/a "b".tflite')["Python"], "utf-8")
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "code.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip() == NAMES[0], done.stderr  # the largest of the bias


@pytest.mark.parametrize("name", ["int8", "uint8", "float"])
def test_the_other_languages_have_the_numbers_of_the_file(name):
    code = _of(name)
    assert list(code) == ["Python", "C++", "Kotlin", "Swift"]
    for language, text in code.items():
        assert f"{name}.tflite" in text and "{{" not in text and "{%" not in text
        for opened, closed in ("()", "{}", "[]"):
            assert text.count(opened) == text.count(closed), language
        assert (re.search(r"0\.03125|1\.0f?\b", text) is not None) or name == "float"
    assert 'listOf<String>("q\\"uote", "b\\\\ack \\$slash"' in code["Kotlin"]
    assert "Int8" in code["Swift"] or name == "float"


def test_kotlin_reads_the_values_of_an_output_without_scale():
    number = TensorRecord(name="x", shape=(1, 4), dtype="float32")
    assert "output.getFloat().toFloat()" in snippets("m.tflite", [number], [number])["Kotlin"]


def test_files_without_code():
    number = TensorRecord(name="x", shape=(1, 4), dtype="float32")
    text = TensorRecord(name="x", shape=(1, 4), dtype="string")
    assert snippets("m.tflite", [number, number], [number]) == {}
    assert snippets("m.tflite", [text], [number]) == {}
    assert "CLASSES = []" in snippets("m.tflite", [number], [number], ["a"])["Python"]
