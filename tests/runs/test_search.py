"""Runs that find their student: to a number of bytes, by short distillations."""

import html
import importlib.util
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill import data, models, report, runs, targets, teachers
from keras_distill._internal import InputError, MissingExtraError
from keras_distill._internal._progress import Reporter
from keras_distill.cli import main
from keras_distill.precision import _recipes
from keras_distill.precision import _search as _precisions
from keras_distill.records import BudgetPart, Candidate, RunRecord
from keras_distill.report import _search as _search_page
from keras_distill.runs import _candidates, _run, _search
from keras_distill.runs._budget import FileBudget
from keras_distill.runs._candidates import CandidateFiles, precision_of
from keras_distill.runs._run import run
from keras_distill.runs._search import rounds_for

MICRO = importlib.util.find_spec("tflite_micro") is not None
SMALL = Path(__file__).parents[1] / "golden" / "small.toml"


def _recipe(**changes):
    settings = {
        "student.model": "auto",
        "data.labels": None,
        "budget.max_bytes": "4.1k",
        "budget.max_drop": 50,
        "seeds": 1,
        "export.quantizations": None,
        "export.strip": True,
    }
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return runs.load_recipe(str(SMALL), settings | changes)


class _Stages(Reporter):
    """Collects the names of the stages."""

    def __init__(self):
        self.names = []

    def stage(self, name, text=""):
        self.names.append(name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Interrupted in the third training of the ranking, and resumed: folder, record, stages.

    Of the precisions, two are tried.
    """
    out = tmp_path_factory.mktemp("runs") / "found"
    recipe = _recipe(
        budget__candidates=["mlp:4", "mlp:300"],
        budget__epochs=1,
        budget__max_arena="8k" if MICRO else None,
    )
    trained, original, stages = [], _search.train, _Stages()

    def killed(context, lesson, pupil):
        trained.append(lesson.name)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return original(context, lesson, pupil)

    two = [one for one in _recipes.CONVERTED if one.family in ("float32", "int8")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_precisions, "CONVERTED", two)
        patch.setattr(_recipes, "plain", lambda operators: ())
        with patch.context() as killing:
            killing.setattr(_search, "train", killed)
            with pytest.raises(KeyboardInterrupt):
                run(recipe, out)
        return out, run(recipe, out, reporter=stages), stages.names


def test_an_interrupted_search_resumes(finished):
    assert "candidate" not in finished[2] and "search" in finished[2]


def test_the_plan_counts_candidates_and_epochs():
    found = runs.plan(_recipe(budget__candidates=["mlp:4", "mlp:300"]))
    stages = {stage.name: stage for stage in found.stages}
    assert "up to 8 students" in stages["candidates"].what
    # A tenth of 12 epochs is too little to double it.
    assert "8 candidates ranked in 1 round: 8 epochs" in stages["search"].what
    assert stages["search"].seconds > 0
    assert stages["search"].steps == 8 * stages["student"].steps / 12


def test_a_store_can_be_the_teacher_and_does_not_show_its_accuracy(tmp_path):
    teacher = models.build("mlp:16", input_shape=(8, 8, 1), num_classes=10, seed=0)
    targets.SoftTargetStore.build(teacher, data.load("digits").train, tmp_path / "store")
    changes = {"teacher.model": str(tmp_path / "store"), "budget.candidates": ["mlp:4"]}
    found = runs.plan(_recipe(**changes, budget__max_drop=1.0))
    assert "search" in {stage.name for stage in found.stages}
    with pytest.raises(InputError, match=r"a store does not show its accuracy.*Received: 50"):
        runs.plan(_recipe(**changes))


def test_the_file_keeps_to_the_budget(finished):
    out, record, _ = finished
    assert record.budget.failures == () and record.budget.drop <= 50
    content = (out / record.budget.file).read_bytes()
    assert record.budget.bytes == len(content) <= 4100
    assert abs(len(content) - record.search.chosen.bytes) < 100
    assert b"labels" not in content
    assert RunRecord.load(out / "record.json") == record


def test_candidates_are_ranked_in_halves(finished):
    search = finished[1].search
    outcomes = {one.name: one.outcome for one in search.candidates}
    assert outcomes.pop("given-2") == "over the budget"
    assert list(outcomes) == ["widest", "taylor", "narrow-70", "narrow-50", "scratch", "given-1"]
    assert sorted(outcomes.values()) == ["chosen", *["ranked"] * 5]
    assert sorted(len(one.rounds) for one in search.candidates) == [0, 1, 1, 1, 2, 3, 3]
    assert search.epochs == 6 + 3 * 2 + 2 * 4 and search.epochs_in_full == 6 * 12
    first = [one.rounds[0].validation_accuracy for one in search.candidates if one.rounds]
    went_on = [
        one.rounds[0].validation_accuracy for one in search.candidates if len(one.rounds) > 1
    ]
    assert sorted(first)[3:] == sorted(went_on)


@pytest.mark.skipif(not MICRO, reason="needs keras-distill[micro]")
def test_every_candidate_has_run_on_a_microcontroller(finished):
    _, record, _ = finished
    arenas = {one.name: one.arena_bytes for one in record.search.candidates}
    assert arenas.pop("given-2") is None  # its file is too large already
    assert all(64 < arena <= 8000 for arena in arenas.values())  # at least the pixels
    assert record.budget.arena_bytes == arenas[record.search.chosen.name]
    assert "memory on a microcontroller" in report.render(record)


@pytest.mark.skipif(not MICRO, reason="needs keras-distill[micro]")
def test_a_candidate_that_needs_too_much_memory_is_dropped(finished, tmp_path):
    record = finished[1]
    one = next(one for one in record.search.candidates if one.rounds)
    one = one.model_copy(update={"outcome": "ranked", "arena_bytes": None, "rounds": ()})
    files = CandidateFiles(tmp_path)
    shutil.copyfile(finished[0] / record.budget.file, tmp_path / f"{one.name}-int8.tflite")
    context = SimpleNamespace(reporter=Reporter(), recipe=record.recipe)
    for most, outcome in ((100, "over the budget"), (8000, "ranked")):
        budget = record.recipe.budget.model_copy(update={"max_arena": most})
        (found,) = _candidates._with_arena(context, [one], budget, files)
        assert found.outcome == outcome and found.arena_bytes > 100
        assert found == Candidate.load(files.record(one.name))
    assert found.reason is None


@pytest.mark.parametrize("spec", ["mlp:16", "dscnn?width=0.1"])
def test_the_file_of_a_candidate_is_as_large_as_after_a_training(spec, tmp_path):
    context = SimpleNamespace(
        reporter=Reporter(),
        recipe=_recipe(budget__candidates=[spec]),
        build=lambda spec, seed: models.build(spec, input_shape=(8, 8, 1), num_classes=10),
        file_options={"strip": True},
    )
    files = CandidateFiles(tmp_path)
    (found,) = _candidates._Makers(context, context.recipe.budget, files).given()
    student, random = models.load(files.model(found.name)), np.random.default_rng(0)
    assert not student.layers[-1].bias.numpy().any()  # the student still starts untrained
    for variable in student.weights:
        variable.assign(variable + random.uniform(0.1, 0.2, variable.shape))
    file, x = tmp_path / "a.tflite", random.random((64, 8, 8, 1), np.float32)
    kd.export_tflite(student, file, quantization="int8", calibration=x, data=x, strip=True)
    assert abs(file.stat().st_size - found.bytes) < 100, (found.bytes, file.stat().st_size)


def test_candidates_may_name_their_input_otherwise(finished, tmp_path):
    record = finished[1]
    one = next(one for one in record.search.candidates if one.rounds)
    one = one.model_copy(update={"latency_ratio": None})
    shutil.copyfile(finished[0] / record.budget.file, tmp_path / f"{one.name}-int8.tflite")
    keras.utils.set_random_seed(0)
    pixels = keras.Input((8, 8, 1), name="pixels")
    teacher = keras.Model(pixels, keras.layers.Dense(10)(keras.layers.Flatten()(pixels)))
    context = SimpleNamespace(reporter=Reporter(), recipe=record.recipe)
    files = CandidateFiles(tmp_path)
    (found,) = _candidates._with_latency(context, [one], record.recipe.budget, files, teacher)
    assert found.latency_ratio > 0


def test_without_the_runtime_the_error_has_the_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*micro"):
        run(_recipe(budget__max_arena="8k"), tmp_path / "run")


def test_the_chosen_candidate_is_distilled_in_full(finished):
    out, record, _ = finished
    assert [variant.name for variant in record.variants] == ["distilled"]
    student = models.load(out / "student.keras")
    assert student.count_params() == record.search.chosen.parameters
    inherits = record.search.chosen.name not in ("scratch", "given-1")
    assert (record.shrink is not None) == inherits


def test_the_page_shows_the_choice_of_the_precision(finished):
    _, record, _ = finished
    table = record.exports.exports["auto"].precision
    assert {one.name for one in table.candidates} == {"float32", "int8"}
    assert table.chosen == "int8" and record.budget.file == "student-auto.tflite"
    page = report.render(record)
    assert "Choice of the precision" in page and "is int8: the smallest of 2 files" in page
    (large,) = [one for one in table.candidates if one.name == "float32"]
    if large.bytes > 4100:
        assert f"{large.bytes:,} bytes, more than 4,100" in page


def test_the_page_shows_the_search(finished):
    page = report.render(finished[1])
    search = finished[1].search
    assert "Search for the student" in page and "The budget is met" in page
    assert "mlp:300" in page and "over the budget" in page
    assert f"Chosen: {html.escape(search.chosen.title)}, with " in page and "next is" in page
    assert all(one.latency_ratio for one in search.candidates)
    best = _search_page.front(search)
    assert best and all(one.rounds for one in best)
    for one in best:  # by the definition
        costs = (one.bytes, one.latency_ratio, -one.rounds[0].validation_accuracy)
        for other in search.candidates:
            if other.rounds:
                than = (other.bytes, other.latency_ratio, -other.rounds[0].validation_accuracy)
                assert than == costs or any(a > b for a, b in zip(than, costs, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget.max_bytes": None}, "`budget.max_bytes` must be given"),
        ({"student.model": "mlp:8"}, "`student.model` must be 'auto' with `budget`"),
        ({"budget.max_bytes": 0}, "max_bytes"),
        ({"budget.max_bytes": "many"}, "max_bytes"),
        ({"budget.max_latency_ratio": -1}, "max_latency_ratio"),
        ({"budget.max_arena": "much"}, "`max_arena`"),
        ({"budget.candidates": ["mlp:4", "mlp:4"]}, "different candidates"),
        ({"training.budget": "1m"}, "training.epochs"),
        ({"budget.candidates": ["nothing:4"]}, "no model 'nothing'"),
        ({"budget.max_bytes": 100}, r"be >= \d+, the bytes of the narrowest mlp:32.* as int8"),
    ],
)
def test_mistakes_are_found_before_the_teacher_is_trained(changes, message, tmp_path, monkeypatch):
    monkeypatch.setattr(_run, "obtain_teacher", lambda _: pytest.fail("the teacher is trained"))
    with pytest.raises(InputError, match=message):
        recipe = _recipe(**{key.replace(".", "__"): value for key, value in changes.items()})
        run(recipe, tmp_path / "run")


def test_a_budget_that_nothing_keeps_to(finished, tmp_path):
    teacher = str(finished[0] / "teacher.keras")
    given = {"teacher__model": teacher, "budget__max_bytes": 100}
    with pytest.raises(InputError, match=r"by any of 1 candidates\. The smallest, mlp"):
        run(_recipe(budget__candidates=["mlp:4"], **given), tmp_path / "run")


def test_the_file_is_auto_if_the_recipe_does_not_say():
    found = _recipe()
    assert (
        found.quantizations == ("auto",) and precision_of(SimpleNamespace(recipe=found)) == "int8"
    )
    named = runs.load_recipe(str(SMALL), {"export.quantizations": None})
    assert named.quantizations == ("float32", "int8")
    several = _recipe(export__quantizations=["float32", "auto"])
    assert precision_of(SimpleNamespace(recipe=several)) == "int8"


def test_a_chosen_file_keeps_the_whole_budget(finished, tmp_path):
    out, record, _ = finished
    splits, file = data.load("digits"), tmp_path / "a.tflite"
    kd.export_tflite(
        out / "student.keras", file, quantization="weight-only-int4", data=splits, max_drop=100
    )
    (tmp_path / "candidates").mkdir()
    shutil.copyfile(file, tmp_path / "candidates" / "teacher-float32.tflite")
    context = SimpleNamespace(
        splits=splits,
        validation=splits.validation.batch(50),
        recipe=record.recipe,
        folder=SimpleNamespace(scratch=tmp_path),
    )
    budget = record.recipe.budget.model_copy(
        update={"max_bytes": 10**6, "max_drop": 100, "max_latency_ratio": 1e6}
    )
    asked = {
        "max_bytes": (100, "bytes, more than 100"),
        "max_drop": (-100, "than the teacher on validation data, more than the -100"),
        "max_latency_ratio": (1e-6, "times the teacher's latency, more than 1e-06"),
        **({"max_arena": (8000, "does not run on a microcontroller")} if MICRO else {}),
    }
    teacher = teachers.as_teacher(out / "teacher.keras")
    for name, (value, message) in asked.items():
        changed = budget.model_copy(update={"max_arena": None, name: value})
        (failure,) = FileBudget(context, changed, teacher).failures(file)
        assert message in failure
        if name == "max_drop":  # the student does not keep it either
            student = models.load(out / "student.keras")
            assert FileBudget(context, changed, teacher).of_student(student).failures(file) == ()
    changed = budget.model_copy(update={"max_arena": None})
    assert FileBudget(context, changed, teacher).failures(file) == ()


@pytest.mark.parametrize(("filled", "steps"), [(3600, {}), (3500, {"multiple": 1})])
def test_small_budgets_are_filled_by_odd_numbers_of_channels(monkeypatch, filled, steps):
    made = {}

    def shrink(self, name, teacher, **settings):
        made[name] = settings
        if name == "narrow-50":
            raise InputError("`budget` must be >= params=600")
        size = filled if name == "widest" else 3900
        return Candidate(name=name, title=name, parameters=size, bytes=size, outcome="ranked")

    monkeypatch.setattr(_candidates._Makers, "_shrink", shrink)
    monkeypatch.setattr(_candidates._Makers, "_make", lambda self, name, *rest: rest[0])
    budget = BudgetPart(max_bytes=4000)
    context = SimpleNamespace(recipe=_recipe())
    teacher = models.build("mlp:16", input_shape=(8, 8, 1), num_classes=10)
    found = list(_candidates._Makers(context, budget, CandidateFiles(Path())).narrower(teacher))
    size, base = (3900, "fine") if steps else (filled, "widest")
    assert made.pop("taylor") == {"budget": f"params={size}", "importance": "taylor", **steps}
    assert made["narrow-70"] == {"budget": f"params={round(0.7 * size)}", **steps}
    assert [getattr(one, "name", one) for one in found] == [
        *(["widest", "fine"] if steps else ["widest"]),
        *("taylor", "narrow-70", f"as {base}, with random weights"),
    ]


def test_rounds():
    assert rounds_for(1, 30) == [] and rounds_for(2, 30, 4) == [(2, 4)]
    assert rounds_for(5, 30, 2) == [(5, 2), (3, 4), (2, 8)]
    assert rounds_for(8, 20) == [(8, 2)] and rounds_for(8, 1) == [(8, 1)]
    assert rounds_for(8, 6, 4) == [(8, 4), (4, 6)] and rounds_for(8, 4, 4) == [(8, 4)]
    for candidates in (2, 3, 6, 9, 40):
        for full in (4, 40, 200):
            rounds = rounds_for(candidates, full)
            lengths = [epochs for _, epochs in rounds]
            assert lengths == sorted(set(lengths))  # none repeats another
            total = sum(n * epochs for n, epochs in rounds)
            assert total <= max(0.1 * candidates * full, candidates)


@pytest.mark.parametrize(
    "options",
    [
        ["--max-drop", "1"],
        ["--max-arena", "8k"],
        ["--max-bytes", "4k", "--student", "mlp:4"],
        ["--candidate", "mlp:4"],
    ],
)
def test_options_that_do_not_go_together(options, capsys):
    assert main(["run", *options]) == 2
    assert "--max-bytes" in capsys.readouterr().err
