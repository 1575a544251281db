"""The study of the store: builds killed at random, top-k, reading, targets, and its table."""

import math

import numpy as np
import pytest

from keras_distill import TopK
from keras_distill.records import CostRecord


@pytest.fixture(scope="module")
def study(load_study):
    return load_study("store")


@pytest.fixture(scope="module")
def measures(load_study):
    return load_study("store", "store_measures")


@pytest.fixture(scope="module")
def processes(load_study):
    return load_study("store", "store_processes")


def test_the_ratios_of_a_pair_are_compared_with_their_targets(study, studies):
    """The figures of a pair, made again from all timings on record, are those on record."""
    records = studies / "store" / "records"
    pair = study.PAIRS[0]
    for part in ("steps", "fit", "build"):
        name = f"{part}-resnet-56-resnet-20"
        timings = CostRecord.load(records / f"{name}-record.json")
        figures = study.pair_figures(timings, pair.alike, pair.default)
        assert tuple(figures) == study.Measurement.load(records / f"{name}.json").figures
    table = study.markdown(figures)
    assert table.count("\n| resnet:56 -> resnet:20") == len(figures)


@pytest.mark.slow
def test_builds_killed_at_random_moments_resume_byte_identically(processes, tmp_path):
    found = processes.killed_builds(tmp_path, 3, examples=3000)
    assert found.killed == found.same == 3


@pytest.mark.slow
def test_twenty_builds_killed_at_random_moments(processes, tmp_path):
    found = processes.killed_builds(tmp_path, 20, seed=1)
    assert found.killed == found.same == 20
    assert found.resumed > 5


@pytest.mark.slow
def test_the_writer_needs_no_more_memory_for_ten_times_the_records(processes, tmp_path):
    small, large = (
        processes.writer_memory(tmp_path / str(count), count) for count in (4_000, 40_000)
    )
    assert large < 1.05 * small


def test_records_on_disk_are_their_payload(measures, tmp_path):
    assert [figure.value for figure in measures.record_bytes(tmp_path)] == [1.0] * 4


def test_the_figure_of_reading_is_a_share(measures, tmp_path):
    figure = measures.read_path(tmp_path, examples=500, classes=20, epochs=3)
    assert figure.value > 0 and figure.n == 3


def test_losses_of_topk_by_the_chain_rule(measures):
    logits = np.array([[4.0, 2.0, 0.0, -1.0, -3.0]], np.float32)
    rest = logits[0, 2:].astype(float)
    masses = [[math.log(np.exp(rest / t).mean()) for t in (1, 4)]]
    kept = TopK(
        np.array([[0, 1]]), logits[:, :2], np.array([rest.mean()]), np.array([rest.var()]),
        np.array(masses),
    )  # fmt: skip
    one, own, bins = measures._losses(logits, kept, 4.0)
    p = np.exp(logits[0] / 4) / np.exp(logits[0] / 4).sum()
    spread = np.array([*p[:2], *[p[2:].sum() / 3] * 3])
    assert own == pytest.approx((p * np.log(p / spread)).sum(), abs=1e-7)
    assert one == pytest.approx(own, abs=1e-6) and bins == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_the_same_student_comes_from_the_store_and_from_online(measures, tmp_path):
    found = measures.same_student(tmp_path, seeds=range(2), epochs=2, views=2)
    np.testing.assert_allclose(found.stored, found.online, rtol=1e-3)
    assert abs(found.figures[0].value) <= 0.5


@pytest.mark.parametrize(("stored", "reached"), [([90, 92, 94], True), ([80, 82, 84], False)])
def test_the_difference_of_students_is_compared_with_the_spread_of_seeds(measures, stored, reached):
    online = [90.5, 91.5, 94.0]
    curves = {"online": [[2.0, 1.0]] * 3, "stored": [[2.0, 1.1]] * 3}
    accuracy, loss = measures._same_figures(curves, {"online": online, "stored": stored})
    assert accuracy.value == pytest.approx(np.mean(stored) - 92)
    assert accuracy.reached is reached
    assert loss.value == pytest.approx(0.1)


def test_an_interrupted_study_resumes(measures, study, tmp_path, monkeypatch):
    ran = []

    def piece(name):
        def run(scratch, results):
            ran.append(name)
            return [measures.Figure(name=name, value=1.0)]

        return run

    monkeypatch.setattr(
        study, "measurements", lambda data_dir=None: {name: piece(name) for name in ("one", "two")}
    )
    study.study(tmp_path, only=["one"], report=lambda text: None)
    text = study.study(tmp_path, report=lambda text: None)
    assert ran == ["one", "two"]
    assert "| one | 1.000 |" in text and "| two | 1.000 |" in text
    assert study.readme_tables(tmp_path) == [text]
