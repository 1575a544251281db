"""The study of specialists on digits: from the first piece to the page, resumed, and failing."""

import json
import re

import numpy as np
import pytest

from keras_distill import InputError, VerificationError, report, specialists
from keras_distill.records import DistillationResult
from keras_distill.specialists import random_sets

SETTINGS = {
    "name": "tiny",
    "source": "digits",
    "model": "mlp:16",
    "clusters": 2,
    "seeds": 2,
    "members": 1,
    "generalist": {"epochs": 2, "learning_rate": 0.005},
    "specialist": {"epochs": 1, "batch_size": 64, "alpha": 0.5},
    "distilled": {"epochs": 2, "crop": 1, "views": 2, "choices": [[0.5, 2.0], [0.9, 1.0]]},
}


@pytest.fixture(scope="module")
def module(load_study):
    return load_study("specialists")


@pytest.fixture(scope="module")
def tiny(module):
    return module.Study.parse(SETTINGS, source="test")


def start(module, study, folder, ended=None, records="records"):
    ended = [] if ended is None else ended
    return module.StudyRun(
        study, folder / "work", folder / records,
        progress=lambda name, state: ended.append((name, state)),
    )  # fmt: skip


@pytest.mark.slow
def test_a_study_from_the_first_piece_to_the_page(module, tiny, tmp_path):
    ended = []
    run = start(module, tiny, tmp_path, ended)
    run.train()
    names = [name for name, _ in ended]
    assert names == [
        "generalist", "specialist-s0", "specialist-s1", "random-s0", "hard-s0", "longer-s0",
        "longer-s1", "choice-0.5-2", "choice-0.9-1", "back-s0", "self-s0", "member-1",
    ]  # fmt: skip
    chosen = run.distilled()
    accuracies = {
        pair: DistillationResult.load(run.records / f"choice-{pair[0]:g}-{pair[1]:g}.json")
        for pair in tiny.distilled.choices
    }
    best = max(accuracies, key=lambda pair: accuracies[pair].validation_accuracy)
    assert (chosen.alpha, chosen.temperature) == best
    back = DistillationResult.load(run.records / "back-s0.json")
    assert back.loss == accuracies[best].loss and len(back.validation) == len(back.loss)
    assert len(list(run.work.glob("targets-*"))) == 2  # one run of the ensemble for all of them
    assert all(state == "done" for _, state in ended)
    assert not list((tmp_path / "work").glob("*.unfinished"))
    record = run.evaluate("validation")
    systems = {system.name: system for system in record.report.systems}
    assert list(systems) == [
        "generalist", "specialists", "longer", "pair", "longer-all", "plain", "all", "many",
        "calibrated",
        "uncorrected", "mean", "hard", "random", "back", "self",
    ]  # fmt: skip
    seeds = {name: len(system.accuracy) for name, system in systems.items()}
    assert [seeds[n] for n in ("generalist", "specialists", "longer", "many")] == [1, 2, 2, 1]
    assert systems["generalist"].relative.value == 0
    assert sum(row.examples for row in record.report.coverage) == record.report.examples == 130
    assert len(record.report.classes) == 10 and len(record.report.images) == 10
    records = tmp_path / "records"
    assert module.StudyRecord.load(records / "study-validation.json") == record
    for name in names:
        assert (records / f"{name}.json").exists()
    for path in records.iterdir():  # records are published
        assert str(tmp_path) not in path.read_text()
    steps = json.loads((records / "longer-s0.json").read_text())["steps"]
    assert abs(steps - record.specialist_steps) <= tiny.specialist.epochs

    html = report.render_specialists(record.report)
    assert html.count("data:image/png") == sum(map(len, record.report.class_sets))
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    assert "validation split" in html
    assert len(report.specialists_table(record.report)[1]) == 15
    table = module.specialists_tables.comparisons(record).splitlines()
    assert [line.split(" | ")[0] for line in table[2:]][:2] == [
        "| specialists against training longer",
        "| specialists against the average with the one trained longer",
    ]
    rows = module.specialists_tables.choices(record, records).splitlines()[2:]
    assert rows[0].startswith("| 0.5 | 2 | ") and len(rows) == 2
    assert record.chosen == best and sum("**" in row for row in rows) == 1
    module.specialists_tables.draw_curves(records, tmp_path / "curves.svg")
    assert "<svg" in (tmp_path / "curves.svg").read_text()

    # Pieces made with other settings are not used for these.
    fewer = start(
        module, tiny.model_copy(update={"members": 0, "seeds": 1}), tmp_path, records="fewer"
    )
    (tmp_path / "fewer" / "specialist-s0.json").write_text(
        (records / "specialist-s0.json").read_text()
    )
    left = {s.name: len(s.accuracy) for s in fewer.evaluate("validation").report.systems}
    assert "plain" not in left and left["specialists"] == left["longer"] == 1
    renamed = random_sets(run.class_sets(), seed=5)
    with pytest.raises(InputError, match="No specialists"):
        module.specialists_tables.evaluate(
            tiny, tmp_path / "work", records, run.splits, "validation",
            class_sets=renamed, even_sets=None,
        )  # fmt: skip

    ended.clear()
    again = start(module, tiny, tmp_path, ended)
    again.train()
    assert ended and all(state == "completed before" for _, state in ended)
    np.testing.assert_equal(
        again.evaluate("validation").report.model_dump(), record.report.model_dump()
    )


@pytest.mark.slow
def test_a_failed_piece_is_reported_at_the_end(module, tiny, tmp_path, monkeypatch):
    def fails(*arguments, **options):
        raise RuntimeError("no luck")

    monkeypatch.setattr(specialists, "distill", fails)
    ended = []
    labels_alone = tiny.specialist.model_copy(update={"alpha": 0.0})
    study = tiny.model_copy(update={"seeds": 1, "size": 6, "specialist": labels_alone})
    run = start(module, study, tmp_path, ended)
    with pytest.raises(VerificationError, match=r"back-s0: RuntimeError: no luck; self-s0"):
        run.train()
    assert ("member-1", "done") in ended
    assert not any(name.startswith("hard") for name, _ in ended)  # it would be the same
    assert {("soft-s0", "done"), ("even-s0", "done")} <= set(ended)
    assert not (tmp_path / "records" / "back-s0.json").exists()
    evaluated = {system.name for system in run.evaluate("validation").report.systems}
    assert {"soft", "even"} <= evaluated and not evaluated & {"hard", "back"}


def test_without_a_generalist_the_study_stops(module, tiny, tmp_path, monkeypatch):
    def fails(*arguments, **options):
        raise RuntimeError("no luck")

    monkeypatch.setattr(module, "train_model", fails)
    with pytest.raises(VerificationError, match="generalist: RuntimeError: no luck"):
        start(module, tiny, tmp_path).train()


def test_the_settings_on_record_are_those_of_the_recipe(module, studies):
    folder = studies / "specialists"
    recipe = module.Study.load(folder / "cifar100.toml")
    record = module.StudyRecord.load(folder / "records" / "study.json")
    assert record.study == recipe
    groups = [
        module.SpecialistsGroup.load(folder / "records" / f"specialist-s{s}.json") for s in range(3)
    ]
    assert sum(result.steps for result in groups[0].specialists) == record.specialist_steps
    for group in groups:
        sets = tuple(result.class_ids for result in group.specialists)
        assert sets == record.report.class_sets


def test_unknown_keys_are_refused(module, tmp_path):
    (tmp_path / "study.toml").write_text('name = "a"\nsource = "digits"\nmodel = "mlp:4"\nx = 1\n')
    with pytest.raises(InputError, match="`x` must be a known key"):
        module.Study.load(tmp_path / "study.toml")
