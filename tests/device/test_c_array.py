import re
import shutil
import subprocess
from pathlib import Path

import pytest

from keras_distill._internal import InputError
from keras_distill.device import c_array, check_device
from keras_distill.records import ArenaRecord, TFLMResult

FILES = Path(__file__).parents[1] / "golden/tflite"

# Copies the bytes that the program has to standard output, and checks what the header says.
PROGRAM = """
#include "model.h"
#include <cstdio>
int main() {
  if (reinterpret_cast<std::uintptr_t>(kModel) % 16 != 0) return 1;
  if (kOperatorCount != 1 || kInput0Scale != 1.0f / 32 || kInput0ZeroPoint != 0) return 2;
  if (kInput0Size != 4 || kOutput0Size != 3 || kOutput0Scale != 0.125f) return 3;
  if (kArenaSize != 1264 || kClassCount != 3 || kClassNames[1][0] != '"') return 4;
  return std::fwrite(kModel, 1, kModelSize, stdout) == kModelSize ? 0 : 5;
}
"""


@pytest.fixture(scope="module")
def record():
    found = check_device(FILES / "int8.tflite", ["xnnpack"], class_names=["a", '"b"\\', "c\n%"])
    arena = ArenaRecord(total=1008, head=32, tail=976, needed=1264)
    measured = TFLMResult(target="tflm", runs=True, operators=1, arena=arena)
    return found.model_copy(update={"results": (measured,)})


def test_the_bytes_of_the_program_are_those_of_the_file(record, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    c_array(record, tmp_path / "c")
    (tmp_path / "program.cc").write_text(PROGRAM)
    words = ["g++", "-std=c++17", "-Wall", "-Werror", f"-I{tmp_path / 'c'}", "-o"]
    words += [str(tmp_path / "program"), str(tmp_path / "program.cc")]
    subprocess.run([*words, str(tmp_path / "c/model.cc")], check=True)
    done = subprocess.run([tmp_path / "program"], capture_output=True)
    assert done.returncode == 0
    assert done.stdout == (FILES / "int8.tflite").read_bytes()


def test_the_main_program_names_the_operators_and_quantizes(record, tmp_path):
    header, model, main = c_array(record, tmp_path / "c")
    assert "#define MODEL_OPERATORS(ADD) ADD(FullyConnected)\n" in header.read_text()
    assert "// int8.tflite: 784 bytes, int8" in header.read_text()
    assert len(re.findall("0x", model.read_text())) == 784
    text = main.read_text()
    assert len(text.splitlines()) <= 45 and text.count("{") == text.count("}")
    assert "typed_input_tensor<int8_t>(0)" in text and "-128.0f), 127.0f" in text


def test_an_arena_that_was_not_measured_is_stated(record, tmp_path):
    unmeasured = record.model_copy(update={"results": ()})
    header = c_array(unmeasured, tmp_path / "a")[0].read_text()
    assert "NOT MEASURED: give --target tflm" in header and "kArenaSize = 8192" in header
    refused = TFLMResult(target="tflm", runs=False, operator="GELU", operators=1)
    header = c_array(record.model_copy(update={"results": (refused,)}), tmp_path / "b")[0]
    assert "does not run the file: GELU is not supported." in header.read_text()


def test_a_file_that_changed_and_a_folder_that_exists_are_refused(record, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c/mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not made by keras-distill"):
        c_array(record, tmp_path / "c", overwrite=True)
    copy = tmp_path / "copy.tflite"
    copy.write_bytes((FILES / "int8.tflite").read_bytes() + b"x")
    with pytest.raises(InputError, match="was changed after it was checked"):
        c_array(record.model_copy(update={"file": str(copy)}), tmp_path / "d")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "copy.tflite"]
