import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from keras_distill._internal import InputError
from keras_distill._internal._child import child_environment
from keras_distill.litert import IsolatedModel, predict_isolated, probe

FILES = Path(__file__).parents[1] / "golden/tflite"
X = np.array([[1, 2, 3, -1], [0.5, 0, 0, 1]], np.float32)
Y = np.array([[-3.5, 5.5, -3.0], [3.0, -1.5, 2.0]], np.float32)


def test_probe_tells_what_the_file_is():
    found = probe(FILES / "int8.tflite")
    assert found.inputs[0].name == "image" and found.inputs[0].scale == 1 / 32
    assert found.outputs[0].shape == (1, 3)
    assert found.ops == {"FULLY_CONNECTED": 1}


def test_predict_by_array_and_by_name():
    np.testing.assert_array_equal(predict_isolated(FILES / "float.tflite", X), Y)
    y = predict_isolated(FILES / "two.tflite", {"left": X, "right": X})
    np.testing.assert_array_equal(y["sum"], 2 * X)


def test_a_worker_measures():
    with IsolatedModel(FILES / "float.tflite") as worker:
        seconds, added = worker.cold_start(X)
        assert 0 < seconds < 60
        assert added is None or 0 < added < 1 << 30
        times = worker.time_call(5)
        assert len(times) == 5 and min(times) > 0
        assert worker.resize_batch(8)
        np.testing.assert_array_equal(worker.predict(X), Y)


@pytest.mark.parametrize("name", ["float.tflite", "two.tflite"])
def test_the_memory_measured_is_that_of_the_file_and_not_of_the_rows(name):
    def measured(rows):
        x = np.ones((rows, 4), np.float32)
        with IsolatedModel(FILES / name) as worker:
            return worker.cold_start({s.name: x for s in worker.inputs})[1]

    few, many = measured(10), measured(4_000_000)  # 64 MB for each input
    if few is None:
        pytest.skip("the system does not report the memory of a process")
    assert abs(many - few) < 1 << 20
    assert 0 < few < 2 << 20  # the files have less than 2 kB


def test_an_error_of_the_file_is_an_input_error_and_the_worker_goes_on():
    with IsolatedModel(FILES / "float.tflite") as worker:
        with pytest.raises(InputError, match="`image` must be an array"):
            worker.predict(X[:, :2])
        np.testing.assert_array_equal(worker.predict(X), Y)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("flex.tflite", "operators that LiteRT does not know: FlexErf"),
        ("variable.tflite", r"unfrozen variables \(READ_VARIABLE, VAR_HANDLE\)"),
        ("missing.tflite", "no such file"),
    ],
)
def test_probe_refuses(name, words):
    with pytest.raises(InputError, match=words):
        probe(FILES / name)


@pytest.fixture
def child_runs(monkeypatch, tmp_path):
    """Has every child process run other code than it should."""

    def stand_in(code):
        script = tmp_path / "child"
        script.write_text(f"#!{sys.executable}\n{code}\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return stand_in


def test_a_death_by_signal_is_named(child_runs):
    child_runs("import os; os.kill(os.getpid(), 11)")
    with pytest.raises(InputError, match=r"interpreter crashed \(SIGSEGV\); the file is damaged"):
        probe(FILES / "float.tflite")


def test_a_hang_is_ended(child_runs):
    child_runs("import time; time.sleep(60)")
    with pytest.raises(InputError, match=r"took longer than 0\.5 s and was ended"):
        probe(FILES / "float.tflite", timeout=0.5)


def test_a_failure_carries_the_log(child_runs):
    child_runs("raise OSError('no space')")
    with pytest.raises(InputError, match=r"failed with exit code 1: .*OSError: no space"):
        probe(FILES / "float.tflite")


def test_single_bytes_flipped_anywhere(tmp_path):
    """Each outcome is an answer or an InputError; none ends this process."""
    content = (FILES / "float.tflite").read_bytes()
    places = np.linspace(0, len(content) - 1, 30).astype(int)

    def outcome(place):
        path = tmp_path / f"{place}.tflite"
        flipped = bytearray(content)
        flipped[place] ^= 0xFF
        path.write_bytes(flipped)
        try:
            probe(path, timeout=30)
        except InputError as error:
            assert "\n" not in str(error)
            return "refused"
        return "runs"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(outcome, places))
    assert len(outcomes) == 30 and set(outcomes) <= {"refused", "runs"}
    assert outcomes.count("refused") >= 10  # a flip in a table does not go unnoticed


def test_the_child_imports_no_tensorflow():
    code = "import sys, keras_distill.litert._isolated; print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=child_environment(),
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_a_child_imports_little():
    """What takes a second to import would take it for every file that is verified or measured."""
    code = (
        "import sys, keras_distill.litert._isolated;"
        "sys.exit(', '.join({'tensorflow', 'keras', 'scipy', 'pydantic'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=child_environment(), check=False)
    assert done.returncode == 0


def test_raw_outputs_are_the_integers_that_real_values_come_from():
    with IsolatedModel(FILES / "int8.tflite") as model:
        raw, real = model.predict(X, raw=True), model.predict(X)
        (spec,) = model.outputs
        assert raw.dtype == np.int8
        np.testing.assert_array_equal(real, spec.scale * (raw.astype("f4") - spec.zero_point))
        np.testing.assert_array_equal(model.arrange(X)["image"], np.round(X * 32).astype(np.int8))
    with IsolatedModel(FILES / "int8.tflite", reference=True) as model:
        assert np.abs(model.predict(X, raw=True).astype(int) - raw).max() <= 1


def test_inputs_and_outputs_in_the_order_of_the_graph():
    with IsolatedModel(FILES / "two.tflite") as model:
        assert model.order() == (["right", "left"], ["sum", "difference"])


def test_which_operators_the_delegate_took():
    with IsolatedModel(FILES / "mixed.tflite") as model:
        assert model.delegated() == [0, 1, 2]
    with IsolatedModel(FILES / "mixed.tflite", reference=True) as model:
        assert model.delegated() == []
