"""Whole runs: every built-in recipe in two steps, and one killed in the middle."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import data, models, runs
from keras_distill._internal import InputError
from keras_distill._internal._progress import Reporter
from keras_distill.cli import main
from keras_distill.litert import LiteRTModel
from keras_distill.records._run import RunRecord
from keras_distill.runs import _evaluate
from keras_distill.runs._context import RunContext
from keras_distill.runs._run import run
from keras_distill.runs._students import train_students
from keras_distill.runs._sweep import sweep
from keras_distill.runs._targets import soft_targets
from keras_distill.runs._teacher import obtain_teacher
from keras_distill.work import WorkFolder

SMALL = Path(__file__).parents[1] / "golden" / "small.toml"


def small(changes=None):
    """The recipe of `finished_run`, with changes."""
    return runs.load_recipe(str(SMALL), changes)


def _without_data(name):
    source = runs.load_recipe(name).data.source
    if source == "mnist1d" and importlib.util.find_spec("mnist1d") is None:
        return "the mnist1d extra is not installed"
    return None


@pytest.fixture(scope="module")
def few_prepared(tfds_dir, tmp_path_factory):
    """The first 3,000 examples of each split of the prepared images, prepared likewise."""
    folder = tmp_path_factory.mktemp("tfds")
    for name in ("mnist", "cifar100"):
        (version,) = (tfds_dir / name).iterdir()
        made = folder / name / version.name
        left = shutil.ignore_patterns("*.tfrecord*", "dataset_info.json")
        shutil.copytree(version, made, ignore=left)
        info = json.loads((version / "dataset_info.json").read_text())
        for split in info["splits"]:
            split["shardLengths"] = ["3000"]
        (made / "dataset_info.json").write_text(json.dumps(info))
        for file in version.glob("*.tfrecord*"):
            with tf.io.TFRecordWriter(str(made / file.name)) as writer:
                for example in tf.data.TFRecordDataset(str(file)).take(3000).as_numpy_iterator():
                    writer.write(example)
    return folder


# All but the embedded data set: `pytest -m slow tests/runs/test_run.py`.
SLOW = (
    "mnist",
    "mnist1d",
    "ablation",
    "configurations",
    "hinton-mnist-best",
    "hinton-mnist-omitted",
    "hinton-mnist-sevens-eights",
    "cifar100",
    "cifar100-resnet110-resnet20",
    "cifar100-resnet32x4-resnet8x4",
    "cifar100-resnet56-resnet20",
    "cifar100-wrn40-2-wrn16-2",
    "hinton-mnist",
    "hinton-mnist-temperature",
    "regularization",
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else [])
        for n in runs.builtin_recipes()
    ],
)
def test_every_builtin_recipe_in_two_steps(name, tmp_path, request):
    recipe, overrides = runs.load_recipe(name), {}
    if recipe.data.source.startswith("tfds:"):
        overrides["data.data_dir"] = str(request.getfixturevalue("few_prepared"))
    if name.startswith("cifar100"):
        overrides["teacher.model"] = "resnet:8"  # it takes half a minute less to compile
    if reason := _without_data(name):
        pytest.skip(reason)
    record = run(runs.load_recipe(name, overrides), tmp_path / name, scale="smoke")
    assert record.scale == "smoke"
    assert {variant.steps for variant in record.variants} == {2}
    made = {path.name for path in (tmp_path / name).iterdir()}
    files = {f"student-{q}.tflite" for q in record.exports.exports}
    assert {"recipe.toml", "teacher.keras", "student.keras", "record.json", "report.html"} < made
    assert files < made
    assert not (tmp_path / f"{name}.unfinished").exists()
    facts = record.data
    models.build(
        recipe.teacher.model, input_shape=facts.input_shape, num_classes=len(facts.class_names)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in runs.builtin_recipes() if runs.load_recipe(name).sweep is not None]
)
def test_every_builtin_sweep_in_two_steps(name, tmp_path, request):
    recipe, overrides = runs.load_recipe(name), {}
    if recipe.data.source.startswith("tfds:"):
        overrides["data.data_dir"] = str(request.getfixturevalue("few_prepared"))
    if name == "cifar100":
        overrides["teacher.model"] = "resnet:8"
    if reason := _without_data(name):
        pytest.skip(reason)
    record = sweep(runs.load_recipe(name, overrides), tmp_path / name, scale="smoke")
    assert [point.failures for point in record.points] == [{}] * len(record.points)
    assert all(len(point.seeds) == 2 for point in record.points)


@pytest.fixture(scope="module")
def finished(finished_run):
    return finished_run


def _context(folder, **changes):
    """The context of a run of `SMALL` with changes, for tests of single stages."""
    recipe = small(changes)
    work = WorkFolder(folder, {})
    reporter = Reporter()
    return RunContext.load(recipe, work, scale="full", imports=(), reporter=reporter)


def test_the_record_names_the_files_beside_it(finished):
    out, record = finished
    measured = [entry for entry in record.benchmark.entries if entry.file]
    assert measured
    for entry in measured:
        assert (out / entry.file).stat().st_size == entry.size.bytes
    assert str(out.parent) not in (out / "record.json").read_text()


def test_distilled_and_alone_start_alike_and_take_as_many_steps(finished):
    _, record = finished
    assert [variant.name for variant in record.variants] == [
        "alone",
        "alone_all_labels",
        "distilled",
    ]
    assert {variant.steps for variant in record.variants} == {12 * 10}
    assert [variant.labels for variant in record.variants] == [100, 1167, 100]


def test_the_gain_is_the_paired_difference(finished):
    _, record = finished
    pairs = zip(record.variant("distilled").seeds, record.variant("alone").seeds, strict=True)
    differences = [d.test_accuracy - a.test_accuracy for d, a in pairs]
    assert record.gain.value == pytest.approx(np.mean(differences))
    assert record.gain.n == 2


def test_the_exported_student_is_the_best_on_validation(finished):
    out, record = finished
    seeds = record.variant("distilled").seeds
    best = max(seeds, key=lambda seed: seed.validation_accuracy)
    assert record.chosen_seed == best.seed
    student = models.load(out / "student.keras")
    assert student.count_params() == record.variant("distilled").parameters


def test_file_and_student_agree_with_the_record(finished):
    out, record = finished
    x, y = next(iter(data.load("digits").test.batch(500)))
    student = models.load(out / "student.keras")
    accuracy = np.mean(student.predict(x, verbose=0).argmax(1) == y)
    chosen = next(s for s in record.variant("distilled").seeds if s.seed == record.chosen_seed)
    assert accuracy == pytest.approx(chosen.test_accuracy)
    logits = LiteRTModel(out / "student-int8.tflite").predict(x.numpy())
    entry = record.benchmark.entry("student-int8.tflite")
    assert np.mean(logits.argmax(1) == y) == pytest.approx(entry.quality.accuracy)


def test_a_finished_run_is_not_replaced_unasked(finished):
    out, _ = finished
    before = (out / "record.json").read_bytes()
    with pytest.raises(InputError, match="exists"):
        run(small(), out)
    assert (out / "record.json").read_bytes() == before


def test_a_keras_teacher_from_a_file_is_used_as_it_is(finished, tmp_path):
    out, record = finished
    context = _context(tmp_path / "run", **{"teacher.model": str(out / "teacher.keras")})
    with context.folder:
        teacher = obtain_teacher(context)
        assert (context.folder.path / "teacher.keras").is_file()
        outputs = _evaluate.logits_of(teacher.teacher.predict, context.test)
        facts = _evaluate._teacher(context, teacher, outputs, data.labels_of(context.splits.test))
    assert facts.curve is None
    assert facts.test_accuracy == record.teacher.test_accuracy


def test_a_tflite_teacher_from_a_file(finished, tmp_path):
    file = finished[0] / "student-int8.tflite"
    options = {"teacher.model": str(file), "training.epochs": 1, "seeds": 1}
    record = run(small(options), tmp_path / "run")
    assert RunRecord.load(tmp_path / "run" / "record.json") == record
    assert record.teacher.curve is None and record.teacher.parameters is None
    assert record.gain.low is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher.model": "/nowhere/teacher.keras"}, r"no such file: /nowhere/teacher\.keras"),
        ({"data.labels": 5}, "count"),
        ({"data.labels": 99999}, "at most the 1167 training examples"),
        ({"student.model": "mlp:0"}, "mlp"),
        ({"student.model": "convnet"}, "no model 'convnet'"),
        ({"data.source": "didgits"}, "no source 'didgits'"),
        ({"teacher.model": "mlp:0"}, "`teacher` must name the units"),
        ({"data.source": "npz:flat.npz", "teacher.model": "resnet:8"}, "resnet takes images"),
    ],
)
def test_bad_recipes_are_refused_before_any_training(
    tmp_path, tmp_path_factory, monkeypatch, change, message
):
    monkeypatch.chdir(tmp_path_factory.mktemp("data"))
    y = np.arange(200) % 10
    np.savez("flat.npz", x_train=np.ones((200, 5), np.float32), y_train=y)
    recipe = small({"name": "bad", **change})
    with pytest.raises(InputError, match=message):
        run(recipe, tmp_path / "runs" / "bad")
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_of_other_classes_is_refused(tmp_path):
    net = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(7)])
    net.save(tmp_path / "seven.keras")
    seven = str(tmp_path / "seven.keras")
    with pytest.raises(InputError, match="one row of 10 logits"):
        run(small({"teacher.model": seven}), tmp_path / "out")
    with pytest.raises(InputError, match=r"must have input \(8, 8, 1\) and 10 logits"):
        run(small({"student.model": seven}), tmp_path / "out")


def test_a_teacher_of_another_input_is_refused_with_the_reason(tmp_path):
    net = keras.Sequential([keras.Input((9, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    net.save(tmp_path / "tall.keras")
    recipe = small({"teacher.model": str(tmp_path / "tall.keras")})
    with pytest.raises(InputError, match=r"cannot take the data.*\(.*Error: .*\)\.$"):
        run(recipe, tmp_path / "out")


def test_a_student_that_ends_in_softmax_is_trained_as_one_that_ends_in_logits(finished, tmp_path):
    logits = models.build("mlp:8", input_shape=(8, 8, 1), num_classes=10, seed=0)
    logits.save(tmp_path / "logits.keras")
    softmax = keras.Model(logits.input, keras.layers.Softmax()(logits.output))
    softmax.save(tmp_path / "softmax.keras")
    teacher = str(finished[0] / "teacher.keras")
    curves = {}
    for kind in ("logits", "softmax"):
        context = _context(
            tmp_path / kind,
            **{"student.model": str(tmp_path / f"{kind}.keras"), "teacher.model": teacher},
            **{"training.epochs": 2, "seeds": 1},
        )
        with context.folder:
            targets = soft_targets(context, obtain_teacher(context).teacher)
            students = train_students(context, targets)
        curves[kind] = [variant.done[0].logs["loss"] for variant in students.variants]
    assert len(curves["logits"]) == 3
    np.testing.assert_allclose(curves["softmax"], curves["logits"], rtol=1e-4)


def test_unfinished_work_of_another_recipe_is_kept(tmp_path):
    class Stop(Reporter):
        def stage(self, name, detail=""):
            if name == "teacher":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small({"seeds": 3}), tmp_path / "small", reporter=Stop())
    with pytest.raises(
        InputError, match=r"unfinished run with other settings \(they differ in: seeds\)"
    ):
        run(small(), tmp_path / "small")
    assert (tmp_path / "small.unfinished" / "recipe.toml").exists()


def test_unfinished_work_of_another_teacher_file_is_kept(finished, tmp_path):
    class Stop(Reporter):
        def stage(self, name, detail=""):
            if name == "student":
                raise KeyboardInterrupt

    out, _ = finished
    teacher = tmp_path / "teacher.keras"
    recipe = small({"teacher.model": str(teacher)})
    shutil.copyfile(out / "teacher.keras", teacher)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "small", reporter=Stop())
    shutil.copyfile(out / "student.keras", teacher)
    with pytest.raises(InputError, match=r"with other settings \(they differ in: model_files\)"):
        run(recipe, tmp_path / "small")


def _start(out, recipe):
    command = [sys.executable, "-m", "keras_distill", "run", str(recipe), "--output", str(out)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            return
        time.sleep(0.02)
    pytest.fail(f"the run ended ({process.poll()}) or hung before it could be killed")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_result(finished, tmp_path):
    _, expected = finished
    recipe = small().save(tmp_path / "small.toml")
    out, work = tmp_path / "small", tmp_path / "small.unfinished" / "work"
    for name in ("teacher.npz", "distilled-0.npz"):
        process = _start(out, recipe)
        _wait_for((work / name).exists, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not out.exists()
    assert main(["run", str(recipe), "--output", str(out)]) == 0
    record = RunRecord.load(out / "record.json")
    assert record.teacher.fingerprint == expected.teacher.fingerprint
    for mine, other in zip(record.variants, expected.variants, strict=True):
        assert [s.test_accuracy for s in mine.seeds] == [s.test_accuracy for s in other.seeds]
        assert [s.curve for s in mine.seeds] == [s.curve for s in other.seeds]
    ours = record.exports.exports["int8"].sha256
    assert ours == expected.exports.exports["int8"].sha256
    assert json.loads((out / "record.json").read_text())["seconds"] > 0
