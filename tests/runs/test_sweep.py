"""Sweeps of small students: what is shared, kept, added, refused, and reported."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_distill import models, runs
from keras_distill._internal import InputError
from keras_distill._internal._progress import Reporter
from keras_distill.cli import main
from keras_distill.records import SweepRecord
from keras_distill.runs import _sweep_plan, _sweep_stacks
from keras_distill.runs._sweep import sweep
from keras_distill.runs._sweep_kept import Kept
from keras_distill.runs._sweep_session import _parts

SMALL = Path(__file__).parents[1] / "golden" / "small.toml"
GRID = {"distillation.temperature": [1, 4], "distillation.alpha": [0.5, 0.9]}


def small(grid=None, **changes):
    """The recipe of `finished_run`, with points and changes."""
    return runs.load_recipe(str(SMALL), {"sweep.grid": grid or GRID, **changes})


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep of four points and two seeds. A test that changes it takes a copy."""
    out = tmp_path_factory.mktemp("sweep") / "small"
    return out, sweep(small(), out)


def rows(out):
    with open(out / "sweep.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_all_points_share_one_teacher_and_one_store(swept):
    out, record = swept
    assert [path.name for path in (out / "teachers").iterdir()] == [record.teachers[0].name]
    assert len(list(out.glob("stores/*/targets/manifest.json"))) == 1
    assert {p.teacher for p in record.points if not p.is_reference} == {record.teachers[0].name}
    assert [len(point.seeds) for point in record.points] == [2] * 5
    assert record.keys == tuple(GRID)
    assert [list(p.values.values()) for p in record.points] == [
        [1.0, 0.5], [1.0, 0.9], [4.0, 0.5], [4.0, 0.9], [None, None],
    ]  # fmt: skip
    assert SweepRecord.load(out / "sweep.json") == record


def test_the_table_has_one_row_per_point_and_seed(swept):
    out, record = swept
    found = rows(out)
    assert [(row["point"], row["seed"]) for row in found] == [
        (point.name, str(seed)) for point in record.points for seed in (0, 1)
    ]
    assert {row["distillation.temperature"] for row in found} == {"1.0", "4.0", ""}
    result = record.points[2].seeds[1]
    assert float(found[5]["test_accuracy"]) == result.test_accuracy
    assert float(found[5]["validation_accuracy"]) == result.validation_accuracy


def test_validation_chooses_and_every_point_is_compared_with_the_student_alone(swept):
    out, record = swept
    trained = [point for point in record.points if not point.is_reference]
    best = max(trained, key=lambda point: point.validation_accuracy.value)
    assert record.best == best.name and record.best in record.flat
    alone = record.points[-1]
    tests = {seed.seed: seed.test_accuracy for seed in alone.seeds}
    for point in trained:
        differences = [s.test_accuracy - tests[s.seed] for s in point.seeds]
        assert point.comparison.reference == alone.name
        assert point.comparison.difference.value == pytest.approx(sum(differences) / 2)
        assert point.comparison.p <= point.comparison.p_adjusted <= 1
    assert (out / "student.keras").exists()
    again = runs.load_recipe(str(out / "best.toml"))
    assert again.distillation.temperature == best.values["distillation.temperature"]


@pytest.mark.slow
def test_a_student_is_trained_as_in_a_run(swept, finished_run):
    """The run reads alpha and temperature as constants, which rounds differently."""
    _, record = swept
    _, run = finished_run
    alone, distilled = run.variant("alone"), run.variant("distilled")
    point = next(p for p in record.points if list(p.values.values()) == [4.0, 0.9])
    assert [s.curve for s in record.points[-1].seeds] == [s.curve for s in alone.seeds]
    for mine, other in zip(point.seeds, distilled.seeds, strict=True):
        assert mine.curve.loss == pytest.approx(other.curve.loss, rel=1e-4)
        assert mine.test_accuracy == pytest.approx(other.test_accuracy, abs=0.006)


def test_a_second_command_trains_only_what_is_missing(swept, tmp_path):
    out = shutil.copytree(swept[0], tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in out.glob("students/*/student.npz")}
    record = sweep(small({"distillation.temperature": [4, 8]}), out)
    trained = {p.parent.name for p in out.glob("students/*/student.npz") if p not in before}
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    # The recipe's own alpha is 0.9, so temperature 4 is there already.
    assert len(trained) == 2 and len(record.points) == 6
    assert [p.values["distillation.temperature"] for p in record.points][:5] == [1, 1, 4, 4, 8]
    assert record.test_reads == 2
    kept = {point.name: point.seeds for point in swept[1].points}
    assert all(p.seeds == kept[p.name] for p in record.points if p.name in kept)


def test_more_seeds_are_added_to_the_points_asked_for(swept, tmp_path):
    out = shutil.copytree(swept[0], tmp_path / "copy")
    changes = {"distillation.temperature": [1], "distillation.alpha": [0.5]}
    record = sweep(small(changes, seeds=3), out)
    assert [len(point.seeds) for point in record.points] == [3, 2, 2, 2, 3]


def test_a_student_is_a_function_of_its_point_and_seed_alone(swept, tmp_path):
    """Not of the student before it in the same process, also where it has dropout."""
    changes = {"distillation.temperature": [1], "distillation.alpha": [0.5]}
    record = sweep(small(changes, **{"seeds": [1], "sweep.reference": "none"}), tmp_path / "out")
    (point,) = record.points
    (again,), before = point.seeds, swept[1].point(point.name).seeds[1]
    assert again.curve == before.curve and again.test_accuracy == before.test_accuracy


@pytest.mark.slow
def test_in_processes_the_table_is_byte_identical(swept, tmp_path):
    threads = int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count())
    out = tmp_path / "out"
    record = sweep(small(), out, backend="processes", workers=2, threads=threads)
    assert (tmp_path / "out" / "sweep.csv").read_bytes() == (swept[0] / "sweep.csv").read_bytes()
    assert _without_seconds(record) == _without_seconds(swept[1])


def _without_seconds(record):
    values = record.model_dump(mode="json")["points"]
    for point in values:
        for result in point["seeds"]:
            del result["seconds"]
    return values


def test_a_failure_stops_what_depends_on_it_and_nothing_else(tmp_path, capsys):
    out = tmp_path / "out"
    grid = ["--grid", "student.model=mlp:8,mlp:0", "--grid", "teacher.model=mlp:0,mlp:16"]
    options = ["--seeds", "1", "--scale", "smoke", "--output", str(out)]
    assert main(["sweep", str(SMALL), *grid, *options]) == 1
    assert "seed 0 failed" in capsys.readouterr().out
    record = SweepRecord.load(out / "sweep.json")
    errors = {tuple(p.values.values()): p.failures.get("0") for p in record.points}
    assert errors["mlp:8", "mlp:16"] is errors["mlp:8", None] is None
    assert "its teacher failed" in errors["mlp:8", "mlp:0"]
    assert "mlp" in errors["mlp:0", "mlp:16"] and "its teacher" not in errors["mlp:0", "mlp:16"]
    assert record.point(record.best).values == {"student.model": "mlp:8", "teacher.model": "mlp:16"}
    assert [row["error"] != "" for row in rows(out)].count(True) == 4


def test_a_sweep_of_another_recipe_is_refused_and_kept(swept, tmp_path):
    out = shutil.copytree(swept[0], tmp_path / "copy")
    with pytest.raises(InputError, match=r"of another recipe \(they differ in: training.epochs\)"):
        sweep(small(**{"training.epochs": 13}), out)
    assert SweepRecord.load(out / "sweep.json") == swept[1]


def test_other_folders_are_never_taken_for_a_sweep(finished_run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(InputError, match="not made by keras-distill"):
        sweep(small(), tmp_path / "mine", overwrite=True)
    run = shutil.copytree(finished_run[0], tmp_path / "run")
    with pytest.raises(InputError, match="exists and is not a sweep"):
        sweep(small(), run)
    assert (run / "record.json").exists()


def test_a_mistake_in_a_point_costs_nothing_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="Did you mean `temperature`"):
        sweep(small({"distillation.temprature": [1]}), tmp_path / "out")
    with pytest.raises(InputError, match="needs points"):
        sweep(runs.load_recipe(str(SMALL)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_ways_to_ask_for_a_point_are_one_point():
    recipe = small(
        None, **{"sweep.points": [{"distillation.temperature": 4.0, "training.epochs": 12}]}
    )
    points = _sweep_plan.plan(recipe.with_changes({"distillation.alpha": 0.5}), "full")
    assert len({point.name for point in points}) == len(points) == 5
    assert len({point.trainer for point in points if point.teacher}) == 1


@pytest.mark.parametrize(
    ("key", "values", "teachers", "stores", "references"),
    [
        ("distillation.temperature", [1, 2], 1, 1, 1),
        ("distillation.losses", [[{"loss": "DISTLoss"}], [{"loss": "DecoupledLoss"}]], 1, 1, 1),
        ("distillation.top_k", [3, 5], 1, 2, 1),
        ("data.labels", [50, 100], 1, 1, 2),
        ("data.omit_classes", [[3], [4]], 1, 2, 2),
        ("student.model", ["mlp:8", "mlp:16"], 1, 1, 2),
        ("training.learning_rate", [1e-3, 1e-2], 2, 2, 2),  # the teacher is trained likewise
        ("teacher.epochs", [1, 2], 2, 2, 1),
        ("generations", [1, 2], 1, 1, 1),
    ],
)
def test_points_share_what_they_do_not_differ_in(key, values, teachers, stores, references):
    points = _sweep_plan.plan(small({key: values}), "full")
    taught = [point for point in points if point.teacher]
    assert len(taught) == len({point.name for point in taught}) == 2
    assert len({point.teacher for point in taught}) == teachers
    assert len({point.store for point in taught}) == stores
    assert len(points) - len(taught) == references


@pytest.mark.slow
def test_every_kind_of_teacher_and_lesson_is_a_point(swept, tmp_path):
    layers = {"teacher_layer_name": "hidden1", "student_layer_name": "hidden1"}
    (store,) = (path.parent for path in swept[0].glob("stores/*/targets/manifest.json"))
    points = [
        {"distillation.losses": [{"loss": "HintLoss", **layers}]},
        {"assistant": [{"model": "mlp:12"}]},
        {"generations": 2},
        {"student.model": "shrink:0.5"},
        {"teacher.members": 2},
        {"teacher.model": str(store)},
        {"data.augment.crop": 1},
    ]
    short = {"training.epochs": 1, "teacher.epochs": 1, "seeds": 1}
    recipe = small(**{"sweep.grid": None, "sweep.points": points, **short})
    record = sweep(recipe, tmp_path / "out")
    assert [point.failures for point in record.points] == [{}] * len(record.points)
    taught = [point for point in record.points if not point.is_reference]
    assert len(taught) == len(points) and all(len(point.seeds) == 1 for point in taught)
    assert [p.parameters for p in taught].count(610) == 6 and taught[3].parameters != 610
    assert {t.model for t in record.teachers} == {
        "mlp:32?dropout=0.2", "2 x mlp:32?dropout=0.2",
    }  # fmt: skip


def test_widths_of_one_teacher_are_points(tmp_path):
    short = {"training.epochs": 1, "teacher.epochs": 1, "seeds": 1}
    widths = {"student.model": ["shrink:0.5", "shrink:0.25"]}
    record = sweep(small(widths, **short), tmp_path / "out")
    assert [point.failures for point in record.points] == [{}] * 4
    taught = [point for point in record.points if not point.is_reference]
    assert [point.values["student.model"] for point in taught] == widths["student.model"]
    assert taught[0].parameters > 1.5 * taught[1].parameters
    assert len(record.teachers) == 1 and len(list((tmp_path / "out" / "stores").iterdir())) == 1
    # Alone, a narrower teacher is trained too, from the same weights.
    assert {p.parameters for p in record.points} == {p.parameters for p in taught}
    best = next(point for point in taught if point.name == record.best)
    assert models.load(tmp_path / "out" / "student.keras").count_params() == best.parameters


def test_a_reference_may_be_a_point(swept, tmp_path):
    out = shutil.copytree(swept[0], tmp_path / "copy")
    record = sweep(small(**{"sweep.reference": {"distillation.alpha": 0.5}}), out)
    chosen = [p for p in record.points if p.comparison is None and not p.is_reference]
    (reference,) = chosen
    assert reference.values == {"distillation.temperature": 4.0, "distillation.alpha": 0.5}
    assert {p.comparison.reference for p in record.points if p.comparison} == {reference.name}


def test_the_command_prints_a_table_or_json(swept, tmp_path, capsys):
    out = shutil.copytree(swept[0], tmp_path / "copy")
    command = ["sweep", str(SMALL), "--output", str(out)]
    command += ["--grid", "distillation.temperature=1,4", "--grid", "distillation.alpha=0.5,0.9"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "temperature" in printed and "Best on validation data: temperature" in printed
    assert max(map(len, printed.split("Mean over")[0].splitlines())) <= 80
    assert main([*command, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["points"]) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "distillation.temperature"], "`set` must be KEY=VALUE"),
        (["--grid", "distillation.temperature="], "`grid` must be KEY=VALUE,VALUE"),
        (
            ["--grid", "distillation.temperature=1", "--grid", "distillation.temperature=2"],
            "`grid` must name each key once",
        ),
        (["--grid", "distillation.temprature=1"], "Did you mean `temperature`"),
        (["--grid", "seeds=1,2"], "`seeds` must not vary over a sweep"),
        (["--grid", "distillation.alpha=2"], "alpha"),
        ([], "A sweep needs points"),
        (["--grid", "distillation.alpha=1", "--backend", "threads"], "in-turn, processes, ray"),
        (["--grid", "distillation.alpha=1", "--reference", "best"], "reference"),
    ],
)
def test_a_wrong_command_names_its_mistake(options, message, tmp_path, capsys):
    assert main(["sweep", str(SMALL), *options, "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


STACKED = {"student.model": "mlp:8", "seeds": 1, "sweep.reference": "none"}
TEMPERATURES = {"distillation.temperature": [1, 4]}


def trained_stacked(out):
    """How many students each stack of a sweep trained."""
    jobs = [json.loads(path.read_text()) for path in out.glob("jobs/stack-*/job.json")]
    return [len(job["result"]["trained"]) for job in jobs]


def test_small_students_are_trained_stacked_also_after_an_interruption(tmp_path, monkeypatch):
    alone, together, killed = (tmp_path / name for name in ("alone", "together", "killed"))
    expected = sweep(small(TEMPERATURES, **STACKED), alone, stacked=False)
    found = sweep(small(TEMPERATURES, **STACKED), together)
    assert trained_stacked(alone) == [] and trained_stacked(together) == [2]
    for mine, other in zip(found.points, expected.points, strict=True):
        assert mine.name == other.name
        assert mine.seeds[0].curve.loss == pytest.approx(other.seeds[0].curve.loss, rel=1e-4)
        assert mine.seeds[0].test_accuracy == pytest.approx(other.seeds[0].test_accuracy, abs=0.006)

    finish, names = _sweep_stacks.finish_student, []

    def interrupted(folder, *arguments, **result):
        names.append(folder.out.name)
        if len(names) == 2:
            raise KeyboardInterrupt
        return finish(folder, *arguments, **result)

    monkeypatch.setattr(_sweep_stacks, "finish_student", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(small(TEMPERATURES, **STACKED), killed)
    sweep(small(TEMPERATURES, **STACKED), killed)
    assert (killed / "sweep.csv").read_bytes() == (together / "sweep.csv").read_bytes()
    assert not list(killed.glob("students/stack-*"))


def test_a_stack_that_fails_leaves_each_student_to_its_own_training(tmp_path, monkeypatch):
    def broken(*arguments):
        raise ValueError("no vectorization\nfor this operation")

    monkeypatch.setattr(_sweep_stacks, "_train", broken)
    stages = []
    reporter = Reporter()
    reporter.stage = lambda name, detail="": stages.append(detail)
    out = tmp_path / "out"
    left = out / "students" / "stack-00000000.unfinished"  # of points that are not asked for now
    recipe = small(TEMPERATURES, **STACKED)
    with monkeypatch.context() as patch:
        patch.setattr(_sweep_stacks, "_train", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sweep(recipe, out, scale="smoke")
    left.mkdir(parents=True)
    record = sweep(recipe, out, scale="smoke", reporter=reporter)
    assert [len(point.seeds) for point in record.points] == [1, 1]
    assert stages[-2] == (
        "not trained together but each alone: ValueError: no vectorization for this operation"
    )
    assert not list(out.glob("students/stack-*"))


def interrupt(*arguments):
    raise KeyboardInterrupt


def test_students_that_see_schedules_are_no_stack():
    fall = {"schedule": "linear", "start": 1.0, "end": 0.0}
    for changes in ({}, {"distillation.alpha": fall}, {"training.patience": 3}):
        points = _sweep_plan.plan(small(TEMPERATURES, **changes), "full")
        assert {point.stack is None for point in points if point.taught} == {bool(changes)}


def test_stacks_have_a_largest_size_and_about_the_same():
    assert [len(part) for part in _parts(range(18), 8)] == [6, 6, 6]
    assert [len(part) for part in _parts(range(9), 8)] == [5, 4]
    assert [len(part) for part in _parts(range(3), 8)] == [3]


def test_a_student_with_dropout_is_trained_alone(tmp_path):
    out = tmp_path / "out"
    record = sweep(small(TEMPERATURES, seeds=1), out, scale="smoke")
    assert trained_stacked(out) == [0]
    assert [len(point.seeds) for point in record.points] == [1] * 3 and not list(
        out.glob("students/stack-*")
    )


def test_data_are_loaded_again_where_the_teacher_has_other_data(tmp_path):
    others = [np.full((40, 8, 8, 1), value, np.uint8) for value in (1, 2)]
    for value, x in zip("ab", others, strict=True):
        np.savez(tmp_path / f"{value}.npz", x_train=x, y_train=np.arange(40) % 10)
    kept = Kept()
    for value, x in zip("ab", others, strict=True):
        source = f"npz:{tmp_path / value}.npz"
        recipe = runs.load_recipe("digits", {"teacher.source": source, "data.labels": None})
        first = next(iter(kept.data(recipe, "smoke", ()).teacher.train))[0]
        assert first.numpy().max() == x.max()
