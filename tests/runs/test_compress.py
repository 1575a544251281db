"""Runs with a `[compress]` table: what they make, show, and survive."""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from html import unescape

import keras
import numpy as np
import pytest

from keras_distill import compress as compress_package
from keras_distill import data, models, runs
from keras_distill._internal import InputError, VerificationError
from keras_distill._internal._progress import Reporter
from keras_distill.cli import main
from keras_distill.compress import FakeQuantModel
from keras_distill.litert import LiteRTModel
from keras_distill.records import CompressRecord
from keras_distill.records._recipe import Recipe
from keras_distill.records._run import RunRecord
from keras_distill.report import _compression, _summary, _verdict
from keras_distill.runs import _budget, _run
from keras_distill.runs._compress import compress_student
from keras_distill.runs._context import RunContext
from keras_distill.runs._load_recipe import smoke_recipe
from keras_distill.runs._run import run
from keras_distill.runs._targets import SoftTargets
from keras_distill.targets import SoftTargetStore
from keras_distill.work import WorkFolder

# Students of one epoch are reported to know nothing.
pytestmark = pytest.mark.filterwarnings("ignore::keras_distill.KerasDistillWarning")

STEPS = ["prune:0.8", "cluster:16", "quantize"]
SMALL = {
    "name": "small",
    "data.source": "digits",
    "data.labels": 100,
    "teacher.model": "mlp:64",
    "student.model": "mlp:32",
    "training.epochs": 20,
    "training.batch_size": 64,
    "training.learning_rate": 3e-3,
    "seeds": 1,
    "export.quantizations": ["float32", "int8"],
    "compress.steps": STEPS,
    "compress.epochs": 20,
    "compress.learning_rate": 5e-3,
    "compress.max_drop": 50,
    "benchmark.runs": 2,
}
QUICK = {
    # Without a learning rate: the default holds.
    **{key: value for key, value in SMALL.items() if key != "compress.learning_rate"},
    "teacher.model": "mlp:8",
    "training.epochs": 1,
    "export.quantizations": ["float32"],
    "compress.steps": ["prune:0.5"],
    "compress.epochs": 1,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "small"
    return out, run(runs.recipe_from_options(SMALL), out)


def test_the_compressed_student_stands_in_a_folder_of_its_own(finished):
    out, record = finished
    assert {path.name for path in (out / "compressed").iterdir()} == {
        *("student.keras", "student-int8.tflite", "student-int8.tflite.json"),
        *("fake_quant", "compress.json", ".keras-distill"),
    }
    assert RunRecord.load(out / "record.json") == record
    assert Recipe.load(out / "recipe.toml").compress == record.recipe.compress
    assert FakeQuantModel.load(out / "compressed" / "fake_quant").scheme == "PCQAT"
    plain, small = (models.load(out / folder / "student.keras") for folder in ("", "compressed"))
    assert [w.shape for w in plain.weights] == [w.shape for w in small.weights]
    assert (plain.get_weights()[0] == 0).mean() < 0.1 < (small.get_weights()[0] == 0).mean()


def test_zeros_and_values_are_in_the_file(finished):
    _, record = finished
    kernels = record.compress.record.kernels
    assert [kernel.shape for kernel in kernels] == [(32, 64), (10, 32)]
    assert all(kernel.sparsity >= 0.79 for kernel in kernels)
    assert all(kernel.values <= 16 for kernel in kernels)


def test_it_was_trained_on_the_soft_targets_of_the_run(finished):
    _, record = finished
    done = record.compress.record
    assert (done.alpha, done.temperature) == (0.9, 4.0)
    assert [len(step.logs["soft_loss"]) for step in done.steps] == [20, 20, 20]
    # 100 labels, and the soft targets of 1,167 images: labels alone do not get there.
    assert done.steps[-1].logs["val_accuracy"][-1] > 0.85


def test_its_reference_is_the_distilled_student(finished):
    _, record = finished
    done = record.compress.record
    assert (done.samples, done.source, done.max_drop) == (130, "digits, validation", 50)
    chosen = record.variant("distilled").seeds[0]
    output = done.export.verification.outputs[0]
    assert done.accuracy == pytest.approx(chosen.validation_accuracy)
    assert output.accuracy_reference == done.accuracy == done.steps[0].accuracy_before
    for before, step in itertools.pairwise(done.steps):
        assert step.accuracy_before == before.accuracy
    for step in done.steps:
        assert step.accuracy == pytest.approx(step.logs["val_accuracy"][-1])
        assert step.drop == pytest.approx(100 * (done.accuracy - step.accuracy))
    assert output.accuracy_converted == done.steps[-1].accuracy


def test_its_file_is_judged_beside_the_others(finished):
    out, record = finished
    names = [entry.name for entry in record.benchmark.entries][1:]
    files = ("float32.tflite", "int8.tflite")
    assert names == [*(f"student-{file}" for file in files), "compressed/student-int8.tflite"]
    entry = record.benchmark.entry("compressed/student-int8.tflite")
    x, y = next(iter(data.load("digits").test.batch(500)))
    logits = LiteRTModel(out / "compressed" / "student-int8.tflite").predict(x.numpy())
    assert np.mean(logits.argmax(1) == y) == pytest.approx(entry.quality.accuracy)
    assert entry.file == "compressed/student-int8.tflite"
    assert entry.size.bytes == (out / entry.file).stat().st_size
    assert entry.size.gzip_bytes < record.benchmark.entry("student-int8.tflite").size.gzip_bytes


def test_the_page_shows_every_step(finished):
    out, record = finished
    page = unescape((out / "report.html").read_text())
    table = _compression.table(record)
    rows = table.rows
    assert [row[0] for row in rows] == [
        *("distilled student", "prune:0.8", "cluster:16", "quantize (PCQAT)", "file int8"),
    ]
    assert all(before[3] == after[2] for before, after in itertools.pairwise(rows[:-1]))
    # Quantizing is seen in the file: fewer values than the float kernels, still the zeros.
    assert rows[-2][5:7] == ("", "") and int(rows[-1][6]) <= 16 and float(rows[-1][5][:-2]) >= 79
    assert all(
        float(row[4]) == pytest.approx(float(rows[0][3]) - float(row[3]), abs=0.11)
        for row in rows[1:]
    )
    assert len({len(row) for row in rows} | {len(table.columns)}) == 1
    for row in rows:
        assert f'<th scope="row">{row[0]}</th>' in page
        for cell in row[1:]:
            assert f"<td>{cell}</td>" in page
    assert _compression.note(record) in page
    assert "file compressed int8" in page
    assert "compressed/student-int8.tflite" in page
    assert [s for s in _verdict.sentences(record) if s.startswith("Compressed by prune:0.8, ")]


def _start(recipe, out):
    command = [sys.executable, "-m", "keras_distill", "run", str(recipe), "--output", str(out)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


@pytest.mark.slow  # 40 seconds: `pytest -m slow tests/runs/test_compress.py`
def test_a_run_killed_while_it_compresses_goes_on_to_the_same_file(finished, tmp_path):
    _, expected = finished
    recipe = runs.recipe_from_options(SMALL).save(tmp_path / "small.toml")
    out, work = tmp_path / "small", tmp_path / "small.unfinished" / "work"
    process = _start(recipe, out)
    try:
        deadline = time.monotonic() + 600
        while not list(work.glob("compressed-*.unfinished/work/1-cluster.npz")):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    pruned = next(work.glob("compressed-*.unfinished/work/0-prune.json")).read_bytes()
    assert not out.exists()
    assert main(["run", str(recipe), "--output", str(out)]) == 0
    done, wanted = RunRecord.load(out / "record.json").compress.record, expected.compress.record
    assert done.steps[0].model_dump_json(indent=2).encode() + b"\n" == pruned
    assert [step.logs for step in done.steps] == [step.logs for step in wanted.steps]
    assert done.export.sha256 == wanted.export.sha256


class _Trained(Reporter):
    """Keeps the time at which a state was last written, as it is before the benchmark."""

    def __init__(self, state):
        self._state = state

    def stage(self, name, detail=""):
        if name == "benchmark":
            self.time = self._state.stat().st_mtime_ns


class _StopAtTheBenchmark(Reporter):
    def stage(self, name, detail=""):
        if name == "benchmark":
            raise KeyboardInterrupt


@pytest.mark.slow
def test_another_compression_keeps_the_training_done(tmp_path):
    out, unfinished = tmp_path / "small", tmp_path / "small.unfinished"
    with pytest.raises(KeyboardInterrupt):
        run(runs.recipe_from_options(QUICK), out, reporter=_StopAtTheBenchmark())
    trained = (unfinished / "work" / "distilled-0.npz").stat().st_mtime_ns
    first = (unfinished / "compressed" / "compress.json").read_bytes()

    def compress(changes):
        """The stage alone, in the folder that the interrupted run left."""
        recipe = runs.recipe_from_options({**QUICK, **changes})
        folder = WorkFolder(out, _run._settings(recipe, "full"))
        context = RunContext.load(recipe, folder, scale="full", imports=(), reporter=Reporter())
        with folder:
            assert folder.resumed
            student = models.load(folder.path / "student.keras")
            store = SoftTargetStore.open(folder.scratch / "targets")
            compress_student(context, student, 0, SoftTargets(context, store))
        return (unfinished / "compressed" / "compress.json").read_bytes()

    assert compress({}) == first, "it was done again"
    assert compress({"compress.steps": ["cluster:4"]}) != first

    none = {key: value for key, value in QUICK.items() if not key.startswith("compress")}
    reporter = _Trained(unfinished / "work" / "distilled-0.npz")
    record = run(runs.recipe_from_options(none), out, reporter=reporter)
    assert reporter.time == trained
    assert record.compress is None
    assert not (out / "compressed").exists()
    assert _compression.table(record) is None and _compression.note(record) == ""
    assert "Compression" not in (out / "report.html").read_text()


@pytest.mark.slow
def test_a_compression_that_cannot_be_made_is_told_and_the_rest_stands(tmp_path, monkeypatch):
    def fail(*args, **settings):
        raise VerificationError("the layers do not agree")

    monkeypatch.setattr(compress_package, "compress", fail)
    record = run(runs.recipe_from_options(QUICK), tmp_path / "small")
    assert record.compress.record is None and record.compress.failed == "the layers do not agree"
    assert _summary.missing(record) == {"compressed": "the layers do not agree"}
    assert (tmp_path / "small" / "student-float32.tflite").is_file()
    assert not (tmp_path / "small" / "compressed").exists()


def test_a_compression_that_loses_too_much_keeps_its_steps_and_ends_with_exit_code_1(
    tmp_path, capsys
):
    """99 % of the weights are gone, and the file agrees with what is left."""
    change = {"training.epochs": 20, "compress.steps": ["prune:0.99:constant"]}
    recipe = runs.recipe_from_options(QUICK | change | {"compress.max_drop": 5})
    out = tmp_path / "small"
    assert main(["run", str(recipe.save(tmp_path / "small.toml")), "--output", str(out)]) == 1
    record = RunRecord.load(out / "record.json")
    done, failed = record.compress.record, record.compress.failed
    assert done.verdict == "failed" and done.steps[0].drop > 5
    assert re.search(r"accuracy falls by \d\d\.\d\d points, .*; limit 5\)", failed)
    assert failed.endswith("in compressed/ (student.keras), without a .tflite file.")
    assert {path.name for path in (out / "compressed").iterdir()} == {
        *("student.keras", "compress.json", ".keras-distill"),
    }
    assert CompressRecord.load(out / "compressed" / "compress.json") == done
    assert f"Compression failed: {failed}" in capsys.readouterr().out
    page = unescape((out / "report.html").read_text())
    rows = _compression.table(record).rows
    assert [row[0] for row in rows] == [
        *("distilled student", "prune:0.99:constant", "file float32, not written"),
    ]
    assert failed in page and all(f">{cell}</t" in page for row in rows for cell in row)
    files = [entry.name for entry in record.benchmark.entries]
    assert not [name for name in files if "compressed" in name]
    assert _budget._exported(record) == ["student-float32.tflite"]


@pytest.mark.slow
def test_smoke_shortens_every_step(tmp_path):
    short = smoke_recipe(runs.recipe_from_options(SMALL))
    assert short.compress.steps == tuple(STEPS)
    assert short.compress_training.epochs == 1 and short.compress_training.batch_size == 64
    two = {**QUICK, "compress.steps": ["prune:0.5", "cluster:4"], "compress.epochs": 20}
    record = run(runs.recipe_from_options(two), tmp_path / "smoke", scale="smoke")
    assert [step.epochs for step in record.compress.record.steps] == [1, 1]
    assert record.data.train == 2 * record.recipe.training.batch_size
    assert "from a learning rate of 0.001." in _compression.note(record)


def _recurrent():
    layers = keras.layers
    net = [layers.Reshape((8, 8)), layers.GRU(4, name="gru"), layers.Dense(10)]
    return keras.Sequential([keras.Input((8, 8, 1)), *net])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compress.skip": ["nowhere"]}, r"`skip` must name layers with a kernel \(hidden1, log"),
        ({"student.model": "gru.keras", "compress.steps": ["quantize"]}, "'gru'.*GRU layer cannot"),
    ],
)
def test_what_cannot_be_compressed_is_refused_before_any_training(
    tmp_path, tmp_path_factory, monkeypatch, change, message
):
    monkeypatch.chdir(tmp_path_factory.mktemp("students"))
    _recurrent().save("gru.keras")
    with pytest.raises(InputError, match=message):
        run(runs.recipe_from_options({**QUICK, **change}), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
