import json
import os
import textwrap

import pytest

from keras_distill._internal import _child
from keras_distill.export import _converter_process
from keras_distill.export._converter_process import explain, keep_converter, run_converter

REQUEST = {"batch_size": 1}


@pytest.fixture
def child_runs(monkeypatch, tmp_path):
    """Replaces the converter by other code, which has `quantization`, `out`, and `done()`."""

    def stand_in(code):
        name = f"stand_in_{tmp_path.name.replace('-', '_')}"
        head = "import os, pathlib, sys, time\n"
        head += "class Service:\n    def convert(self, quantization, out, **request):\n"
        head += "        out = pathlib.Path(out)\n"
        head += "        def done():\n"
        head += "            (out / f'{quantization}.tflite').write_bytes(b'file')\n"
        (tmp_path / f"{name}.py").write_text(head + textwrap.indent(code, " " * 8) + "\n")
        path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
        monkeypatch.setenv("PYTHONPATH", path)
        monkeypatch.setattr(_converter_process, "_SERVICE", f"{name}:Service")

    return stand_in


def _run(tmp_path, names, timeout=30.0):
    out = tmp_path / "out"
    out.mkdir()
    return run_converter({**REQUEST, "out": str(out)}, names, timeout=timeout)


def test_one_child_makes_all(child_runs, tmp_path):
    child_runs("time.sleep(0.1)\ndone()\nopen(out / 'ran', 'a').write(f'{os.getpid()} ')")
    found = _run(tmp_path, ["float32", "int8"])
    assert list(found) == ["float32", "int8"]
    assert all(made.error is None and made.path.exists() for made in found.values())
    assert found["int8"].seconds >= 0.1
    assert len(set((tmp_path / "out/ran").read_text().split())) == 1


def test_the_child_leaves_the_memory_of_a_gpu_to_this_process(child_runs, tmp_path):
    child_runs("(out / 'gpu').write_text(os.environ['CUDA_VISIBLE_DEVICES'])\ndone()")
    _run(tmp_path, ["float32"])
    assert (tmp_path / "out/gpu").read_text() == "-1"


def test_models_share_a_kept_child_until_it_dies(child_runs, tmp_path):
    child_runs(
        "open(out.parent / 'ran', 'a').write(f'{os.getpid()} ')\n"
        "if quantization == 'int8': os.kill(os.getpid(), 11)\ndone()"
    )
    with keep_converter():
        for name in "abc":
            (tmp_path / name).mkdir()
            with keep_converter():
                _run(tmp_path / name, ["float32", "int8"] if name == "b" else ["float32"])
    ran = [(tmp_path / name / "ran").read_text().split() for name in "abc"]
    assert len({*ran[0], *ran[1]}) == 1 and len(ran[1]) == 2 and ran[2] != ran[0]
    with pytest.raises(ProcessLookupError):  # it has ended with the block
        os.kill(int(ran[2][0]), 0)


def test_a_kept_child_is_not_left_without_an_answer(child_runs, tmp_path, monkeypatch):
    child_runs("time.sleep(0.3)\ndone()")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with keep_converter():
        with monkeypatch.context() as patch:
            patch.setattr(_child.Child, "_exchange", _interrupted)
            with pytest.raises(KeyboardInterrupt):
                _run(tmp_path / "a", ["float32"])
        assert _run(tmp_path / "b", ["dynamic"])["dynamic"].path.exists()


def _interrupted(child, request, timeout):
    child._requests.write(request + "\n")
    child._requests.flush()
    raise KeyboardInterrupt


def test_a_refusal_is_that_precisions_own(child_runs, tmp_path):
    child_runs("if quantization == 'int8': raise ValueError('no way')\ndone()")
    found = _run(tmp_path, ["float32", "int8"])
    assert found["float32"].error is None
    assert found["int8"].path is None
    assert found["int8"].error == "the converter failed: ValueError: no way"


def test_a_crash_costs_one_precision_and_another_child_goes_on(child_runs, tmp_path):
    child_runs("if quantization == 'int8':\n    os.kill(os.getpid(), 11)\ndone()")
    # int8 and int16x8 come last, in this order: another child must make int16x8.
    found = _run(tmp_path, ["float32", "int8", "float16", "int16x8"])
    assert found["float32"].path and found["float16"].path and found["int16x8"].path
    error = found["int8"].error
    assert error.startswith("the converter crashed (SIGSEGV) while making int8. The converter can")
    assert "unroll=True" in error
    assert "End of its log: Fatal Python error: Segmentation fault | File " in error
    assert " in convert | File " in error  # where it was


def test_a_hang_is_ended(child_runs, tmp_path):
    child_runs("if quantization == 'float32': done()\nelse: time.sleep(60)")
    found = _run(tmp_path, ["float32", "dynamic"], timeout=3.0)
    assert found["float32"].path
    assert "took longer than 3 s and was ended while making dynamic" in found["dynamic"].error


def test_lack_of_memory(child_runs, tmp_path):
    child_runs("os.kill(os.getpid(), 9)")
    assert (
        "SIGKILL), most likely for lack of memory" in _run(tmp_path, ["float32"])["float32"].error
    )


def test_a_failure_carries_the_end_of_the_log(child_runs, tmp_path):
    child_runs("sys.stderr.write('no such thing\\n'); sys.stderr.flush(); os._exit(1)")
    error = _run(tmp_path, ["float32"])["float32"].error
    assert error.startswith("the converter failed with exit code 1 while making float32.")
    assert error.endswith("End of its log: no such thing")


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
        ("float32", "something\n  else", 1, "the converter failed: something else"),
    ],
)  # fmt: skip
def test_explain(name, message, batch, words):
    assert explain(name, message, batch).startswith(words)


def test_the_request_is_whole(child_runs, tmp_path):
    child_runs("import json\n(out / 'seen').write_text(json.dumps([quantization, request]))")
    _run(tmp_path, ["float32"])
    assert json.loads((tmp_path / "out/seen").read_text()) == ["float32", REQUEST]


def test_a_kept_converter_that_ended_between_exports_is_replaced(monkeypatch):
    started = []

    class Ends:
        ended = False

        def __init__(self, *arguments, **options):
            started.append(self)

        def ask(self, *arguments, **options):
            assert not self.ended

        def close(self):
            pass

    monkeypatch.setattr(_converter_process, "Child", Ends)
    converter = _converter_process._Converter()
    converter.convert(1.0, {})
    started[0].ended = True  # killed for lack of memory, say
    converter.convert(1.0, {})
    assert len(started) == 2
