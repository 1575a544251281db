"""Comparisons of a finished run with changed copies of its record."""

import json

import pytest
from scipy.stats import ttest_rel

from keras_distill import report
from keras_distill._internal import InputError
from keras_distill.cli import main
from keras_distill.records import CompareRecord
from keras_distill.runs import compare


@pytest.fixture
def copied(finished_run, tmp_path):
    """Writes the record of the finished run into a folder, after changes of its values."""
    _, record = finished_run

    def copy(name, change=lambda values: None):
        values = json.loads(record.model_dump_json())
        change(values)
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(values))
        return folder

    return copy


def better(values):
    values["recipe"]["distillation"]["temperature"] = 2.0
    for variant in values["variants"]:
        if variant["name"] == "distilled":
            for i, seed in enumerate(variant["seeds"]):
                seed["test_accuracy"] += 0.01 * (i + 1)


def test_settings_that_differ_and_paired_differences_are_found(finished_run, copied):
    record = compare([copied("a"), copied("b", better)])
    assert record.runs == ("a", "b") and record.notes == ()
    (setting,) = record.settings
    assert (setting.key, setting.values) == ("distillation.temperature", (4.0, 2.0))
    results = {result.name: result for result in record.results}
    assert list(results) == ["teacher", "alone", "alone_all_labels", "distilled"]
    seeds = [s.test_accuracy for s in finished_run[1].variant("distilled").seeds]
    difference = results["distilled"].differences[1]
    assert difference.value == pytest.approx(0.015) and difference.n == len(seeds) == 2
    changed = [accuracy + 0.01 * (i + 1) for i, accuracy in enumerate(seeds)]
    assert results["distilled"].p[1] == pytest.approx(ttest_rel(changed, seeds).pvalue)
    assert results["distilled"].differences[0] is None
    assert results["alone"].differences[1].value == 0 and results["alone"].p[1] is None


def test_only_seeds_in_common_are_paired(copied):
    def other_seeds(values):
        values["recipe"]["seeds"] = [1, 7]
        for variant in values["variants"]:
            for result, seed in zip(variant["seeds"], (1, 7), strict=True):
                result["seed"] = seed
        values["chosen_seed"] = 1

    record = compare([copied("a"), copied("b", other_seeds)])
    distilled = next(r for r in record.results if r.name == "distilled")
    assert distilled.differences[1].n == 1 and distilled.p[1] is None
    assert "on 1 seed, without a test" in " ".join(report.compare_sentences(record))


def test_reasons_against_a_comparison_are_named(copied):
    def elsewhere(values):
        values["scale"] = "smoke"
        values["versions"]["keras"] = "0"
        values["teacher"]["fingerprint"] = "other"

    notes = " ".join(compare([copied("a"), copied("b", elsewhere)]).notes)
    assert "smoke" in notes and "Other versions of: keras." in notes and "teachers" in notes


def test_runs_of_other_data_or_nothing_are_refused(copied, tmp_path):
    def other_data(values):
        values["recipe"]["data"]["source"] = "mnist1d"

    first = copied("a")
    with pytest.raises(InputError, match=r"tested on the same data\. Received: digits, mnist1d"):
        compare([first, copied("b", other_data)])
    with pytest.raises(InputError, match="two or more runs"):
        compare([first])
    with pytest.raises(InputError, match="different runs"):
        compare([first, first / "record.json"])
    with pytest.raises(InputError, match="not the folder of a finished run"):
        compare([first, tmp_path / "none"])


def test_folders_of_one_name_are_told_apart(copied):
    record = compare([copied("x/run"), copied("y/run", better), copied("z/run")])
    assert record.runs == ("x/run", "y/run", "z/run")


def test_the_command_prints_tables_json_and_a_page(copied, tmp_path, capsys):
    runs = [str(copied("a")), str(copied("b", better))]
    page = tmp_path / "page.html"
    assert main(["compare", *runs, "--output", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "distillation.temperature" in printed and "+1.50" in printed
    assert "distillation.temperature" in page.read_text() and "<svg" in page.read_text()
    assert main(["compare", *runs, "--json"]) == 0
    CompareRecord.parse(capsys.readouterr().out, source="the command")
    assert main(["compare", *runs, "--output", str(page)]) == 2
    assert "exists" in capsys.readouterr().err
