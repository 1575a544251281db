import json
import os
import sys

import pytest

from keras_distill.export._process import explain, run_converter

REQUEST = {"batch_size": 1}


@pytest.fixture
def child_runs(monkeypatch, tmp_path):
    """Has the child process run other code; `request` and `out` are at its hand."""

    def stand_in(code):
        script = tmp_path / "child"
        head = "import json, os, pathlib, sys, time\nrequest = json.load(open(sys.argv[-1]))\n"
        head += "out = pathlib.Path(request['out'])\n"
        head += "def done(name, error=None):\n"
        head += "    (out / f'{name}.tflite').write_bytes(b'file')\n"
        head += "    answer = json.dumps({'error': error, 'seconds': 0.5})\n"
        head += "    (out / f'{name}.json').write_text(answer)\n"
        script.write_text(f"#!{sys.executable}\n{head}{code}\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return stand_in


def _run(tmp_path, names, timeout=30.0):
    out = tmp_path / "out"
    out.mkdir()
    return run_converter({**REQUEST, "out": str(out)}, names, timeout=timeout)


def test_one_child_makes_all(child_runs, tmp_path):
    child_runs("for name in request['quantizations']: done(name)\n(out / 'ran').touch()")
    found = _run(tmp_path, ["float32", "int8"])
    assert list(found) == ["float32", "int8"]
    assert all(made.error is None and made.path.exists() for made in found.values())
    assert found["int8"].seconds == 0.5


def test_a_refusal_is_that_precisions_own(child_runs, tmp_path):
    child_runs("done('float32')\ndone('int8', 'ValueError: no way')")
    found = _run(tmp_path, ["float32", "int8"])
    assert found["float32"].error is None
    assert found["int8"].path is None
    assert found["int8"].error == "the converter refuses: ValueError: no way"


def test_a_crash_costs_one_precision_and_another_child_goes_on(child_runs, tmp_path):
    child_runs(
        "for name in request['quantizations']:\n"
        "    if name == 'int8':\n"
        "        sys.stderr.write('calibrating\\n')\n"
        "        sys.stderr.flush()\n"
        "        os.kill(os.getpid(), 11)\n"
        "    done(name)"
    )
    found = _run(tmp_path, ["float32", "int8", "float16"])
    assert found["float32"].path and found["float16"].path
    error = found["int8"].error
    assert error.startswith("the converter crashed (SIGSEGV) while making int8. The converter can")
    assert "unroll=True" in error and error.endswith("End of its log: calibrating")


def test_a_hang_is_ended(child_runs, tmp_path):
    child_runs("if 'float32' in request['quantizations']: done('float32')\ntime.sleep(60)")
    found = _run(tmp_path, ["float32", "dynamic"], timeout=1.0)
    assert found["float32"].path
    assert "took longer than 1 s and was ended while making dynamic" in found["dynamic"].error


def test_lack_of_memory(child_runs, tmp_path):
    child_runs("os.kill(os.getpid(), 9)")
    assert (
        "SIGKILL), most likely for lack of memory" in _run(tmp_path, ["float32"])["float32"].error
    )


def test_a_failure_carries_the_end_of_the_log(child_runs, tmp_path):
    child_runs("raise ImportError('no such thing')")
    error = _run(tmp_path, ["float32"])["float32"].error
    assert error.startswith("the converter failed with exit code 1 while making float32.")
    assert error.endswith("ImportError: no such thing")


@pytest.mark.parametrize(
    ("name", "message", "batch", "words"),
    [
        ("int16x8", "not yet supported for op: 'NEG'. x not yet supported for op: 'ABS'.", 1,
         "int16x8 has no kernel for ABS, NEG (layer normalization): use int8"),
        ("int16x8", "RuntimeError: Empty min/max for tensor serving_default_tokens:0", 1,
         "int16x8 needs the range of every tensor"),
        ("float32", "error: 'tf.Svd' op is neither a custom op nor a flex op", 1,
         "TFLite has no builtin for Svd"),
        ("float32", "'tf.TensorListReserve' op requires element_shape to be static", None,
         "an LSTM or GRU layer needs a fixed batch: pass batch_size=1"),
        ("float32", "something\n  else", 1, "the converter refuses: something else"),
    ],
)  # fmt: skip
def test_explain(name, message, batch, words):
    assert explain(name, message, batch).startswith(words)


def test_the_request_is_whole(child_runs, tmp_path):
    child_runs("(out / 'seen').write_text(json.dumps(request))\ndone('float32')")
    _run(tmp_path, ["float32"])
    seen = json.loads((tmp_path / "out/seen").read_text())
    assert seen["quantizations"] == ["float32"] and seen["batch_size"] == 1
    assert os.path.isabs(seen["out"])
