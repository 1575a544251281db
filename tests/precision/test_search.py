"""A candidate that loses far too much is measured on a few rows only."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from keras_distill.export import Prepared, Rule, Samples
from keras_distill.export._verification import judge
from keras_distill.metrics import truth_of
from keras_distill.precision import _search
from keras_distill.precision._rows import first_look

ROWS = 1000
LABELS = np.arange(ROWS) % 4


def _prepared(labels=LABELS, outputs=None):
    outputs = np.eye(4)[LABELS] if outputs is None else outputs
    samples = Samples({"x": np.arange(ROWS)[:, None]}, labels, "test", ())
    truths = {"y": truth_of(labels, outputs)}
    return Prepared(None, None, None, samples, {"y": outputs}, None, truths, ())


@pytest.fixture
def search(monkeypatch):
    """A search whose files are names of the share of rows that they get wrong."""
    prepared, runs = _prepared(), []

    def produce(file, rows):
        runs.append(len(rows))
        wrong = rows < float(file.name) * ROWS
        return {"y": np.eye(4)[(LABELS[rows] + wrong) % 4]}

    def verify(produced, rule, one):
        one = one or prepared
        return judge(one.outputs, produced, rule, truths=one.truths, source=one.samples.source)

    session = SimpleNamespace(
        prepared=prepared,
        run=lambda file, one: (None, produce(file, (one or prepared).samples.x["x"][:, 0])),
        verify=verify,
    )
    monkeypatch.setattr(
        _search, "probe_on", lambda file, x, threads: (None, produce(file, x["x"][:, 0]))
    )
    return _search.Search(session, 1.0, None), runs


@pytest.mark.parametrize(
    ("lost", "samples", "runs"),
    [(0.0, 1000, [256, 1000]), (0.12, 1000, [256, 1000]), (0.3, 256, [256])],
)
def test_only_what_is_far_off_is_left_after_a_few_rows(search, lost, samples, runs):
    _, found = search[0]._measured(Path(f"{lost}"), Rule(None, 1.0, "try another"))
    assert found.samples == samples and search[1] == runs
    assert found.worst.drop == pytest.approx(100 * lost, abs=0.5)
    assert found.passed == (lost == 0)


def test_the_few_rows_are_spread_over_all_and_have_labels():
    look = first_look(_prepared())
    picks = look.samples.x["x"][:, 0]
    assert (len(picks), picks[0], picks[-1]) == (256, 0, ROWS - 1)
    np.testing.assert_array_equal(look.samples.y, LABELS[picks])
    np.testing.assert_array_equal(look.truths["y"].labels, LABELS[picks])
    values = np.random.default_rng(0).normal(size=(ROWS, 4))
    assert first_look(_prepared(values, values)) is None  # values are judged on all rows
    rare = np.where(np.isin(np.arange(ROWS), picks), -1, LABELS)
    assert first_look(_prepared(rare)) is None
