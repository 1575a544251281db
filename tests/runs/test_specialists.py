import json
import re

import numpy as np
import pytest

from keras_distill._internal import InputError, VerificationError
from keras_distill.records._specialists_study import SpecialistsStudy, StudyRecord
from keras_distill.report import _specialists as page
from keras_distill.runs import _specialist_nets
from keras_distill.runs._specialist_tables import Tables
from keras_distill.runs._specialists import SpecialistsRun
from keras_distill.specialists import random_sets

STUDY = SpecialistsStudy.parse(
    {
        "name": "tiny",
        "source": "digits",
        "model": "mlp:16",
        "clusters": 2,
        "seeds": 2,
        "members": 1,
        "generalist": {"training": {"epochs": 2, "learning_rate": 0.005}},
        "specialist": {"epochs": 1, "batch_size": 64, "alpha": 0.5},
        "back": {"net": {"training": {"epochs": 2}, "crop": 1}, "views": 2},
    },
    source="test",
)


def test_a_study_from_the_first_piece_to_the_page(tmp_path):
    ended = []
    run = SpecialistsRun(
        STUDY, tmp_path / "work", tmp_path / "results", backend="in-turn",
        report=lambda record, kept: ended.append((record.name, record.status, kept)),
    )  # fmt: skip
    run.train()
    count = len(run.class_sets())
    assert all(status == "done" for _, status, _ in ended)
    names = [name for name, _, _ in ended]
    assert len(names) == 1 + 4 * count + 2 + 2 + 1
    record = run.tables("validation")
    systems = {system.name: system for system in record.report.systems}
    assert list(systems) == [
        "generalist", "specialists", "longer", "plain", "all", "many", "calibrated",
        "uncorrected", "mean", "hard", "random", "back", "self",
    ]  # fmt: skip
    seeds = {name: len(system.accuracy) for name, system in systems.items()}
    assert [seeds[n] for n in ("generalist", "specialists", "longer", "many")] == [1, 2, 2, 1]
    assert systems["generalist"].relative.value == 0
    assert sum(row.examples for row in record.report.coverage) == record.report.examples == 130
    assert len(record.report.classes) == 10 and len(record.report.images) == 10
    assert StudyRecord.load(tmp_path / "results" / "study-validation.json") == record
    for name in names:
        assert (tmp_path / "results" / f"{name}.json").exists()
    for path in (tmp_path / "results").iterdir():  # results are to be published
        assert str(tmp_path) not in path.read_text()
    steps = json.loads((tmp_path / "results" / "longer-s0.json").read_text())["result"]["steps"]
    assert abs(steps - record.specialist_steps) <= STUDY.specialist.epochs

    html = page.render(record)
    assert html.count("data:image/png") == sum(map(len, record.report.class_sets))
    assert not re.search(r"""(src|href)=["'](?!data:)""", html) and "<script" not in html
    assert "validation split" in html and len(page.lines(record.report)) == 14

    # What other settings left in the folder is not taken for what these ask for.
    fewer = STUDY.model_copy(update={"members": 0, "seeds": 1})
    run = SpecialistsRun(fewer, tmp_path / "work", tmp_path / "fewer", backend="in-turn")
    left = {s.name: len(s.accuracy) for s in run.tables("validation").report.systems}
    assert "plain" not in left and left["specialists"] == left["longer"] == 1
    renamed = random_sets(run.class_sets(), seed=5)
    with pytest.raises(InputError, match="No specialists"):
        Tables(STUDY, tmp_path / "work", renamed, "validation").record({})

    ended.clear()
    again = SpecialistsRun(
        STUDY, tmp_path / "work", tmp_path / "results", backend="in-turn",
        report=lambda record, kept: ended.append(kept),
    )  # fmt: skip
    again.train()
    assert ended and all(ended)
    np.testing.assert_equal(
        again.tables("validation").report.model_dump(), record.report.model_dump()
    )


def test_a_failed_piece_is_reported_at_the_end(tmp_path, monkeypatch):
    real = _specialist_nets.net_job

    def fails(**arguments):
        if arguments.get("teacher"):
            raise RuntimeError("no luck")
        return real(**arguments)

    monkeypatch.setattr(_specialist_nets, "net_job", fails)
    ended = []
    labels_alone = STUDY.specialist.model_copy(update={"alpha": 0.0})
    study = STUDY.model_copy(update={"seeds": 1, "size": 6, "specialist": labels_alone})
    run = SpecialistsRun(
        study, tmp_path / "work", tmp_path / "results", backend="in-turn",
        report=lambda record, kept: ended.append((record.name, record.status)),
    )  # fmt: skip
    with pytest.raises(VerificationError, match=r"back-s0: RuntimeError: no luck; self-s0"):
        run.train()
    assert ("member-1", "done") in ended
    assert not any(name.startswith("hard") for name, _ in ended)  # it would be the same
    assert {("soft-s0-00", "done"), ("even-s0-01", "done")} <= set(ended)
    assert not (tmp_path / "results" / "back-s0.json").exists()
    judged = {system.name for system in run.tables("validation").report.systems}
    assert {"soft", "even"} <= judged and not judged & {"hard", "back"}


def test_without_a_generalist_there_is_nothing_to_do(tmp_path, monkeypatch):
    def fails(**arguments):
        raise RuntimeError("no luck")

    monkeypatch.setattr(_specialist_nets, "net_job", fails)
    run = SpecialistsRun(STUDY, tmp_path / "work", tmp_path / "results", backend="in-turn")
    with pytest.raises(VerificationError, match="generalist: RuntimeError: no luck"):
        run.train()


def test_an_interrupted_net_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    """A step past the first epoch fails; the job started again ends as if nothing had happened."""
    from keras_distill import models
    from keras_distill.work import TrainingState

    arguments = {
        "source": "digits", "data_dir": None, "start": "mlp:8", "seed": 3, "checksums": [],
        "net": {"training": {"epochs": 40}, "crop": 1},
    }  # fmt: skip
    _specialist_nets.net_job(**arguments, out=str(tmp_path / "whole.keras"))
    real = TrainingState.save
    calls = []

    def interrupted(*args):
        real(*args)
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingState, "save", interrupted)
    out = str(tmp_path / "parts.keras")
    with pytest.raises(KeyboardInterrupt):
        _specialist_nets.net_job(**arguments, out=out)
    monkeypatch.setattr(TrainingState, "save", real)
    (work,) = tmp_path.glob("parts-*.unfinished")
    assert (work / "state.npz").exists()
    _specialist_nets.net_job(**arguments, out=out)
    whole, parts = (models.load(tmp_path / f"{n}.keras") for n in ("whole", "parts"))
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert not work.exists()


def test_unknown_keys_are_refused(tmp_path):
    (tmp_path / "study.toml").write_text('name = "a"\nsource = "digits"\nmodel = "mlp:4"\nx = 1\n')
    with pytest.raises(InputError, match="`x` must be a known key"):
        SpecialistsStudy.load(tmp_path / "study.toml")
