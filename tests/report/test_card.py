"""The model card: every number is of the record, and what was not checked says so."""

import json
import shutil

import pytest

from keras_distill import report
from keras_distill._internal import InputError
from keras_distill.cli import main
from keras_distill.records import ExploreRecord, MeasureRecord, TFLMResult, WorstClass
from keras_distill.report import _verdict


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run[0], tmp_path / "small")


@pytest.fixture(scope="module")
def record(finished_run):
    return finished_run[1]


@pytest.fixture(scope="module")
def explored(finished_run):
    return ExploreRecord.load(finished_run[0] / "explore.json")


def _line(text, name):
    return next(line for line in text.splitlines() if line.startswith(f"- **{name}:**"))


def test_a_run_writes_its_card_and_the_page_shows_it(run, record, explored):
    text = (run / "card.md").read_text()
    assert text == report.card(record, explored)
    assert "Model card" in (run / "report.html").read_text()
    row = _verdict.headline_row(record)
    assert text.startswith(f"# {row.entry.name.replace('_', chr(92) + '_')}\n")
    assert f"{100 * row.entry.quality.accuracy:.1f} %" in _line(text, "Accuracy")
    assert f"{row.entry.size.bytes:,} bytes" in _line(text, "Size")
    assert dict(_files(record))[row.entry.name].sha256 in text


def _files(record):
    return [(export.file, export) for export in record.exports.exports.values()]


def test_the_worst_class_is_counted(record, explored):
    file = explored.model("file")
    shares = [r / n for r, n in zip(file.correct, explored.class_examples, strict=True)]
    worst = explored.class_names[shares.index(min(shares))]
    found = _line(report.card(record, explored), "Worst class")
    assert f" {worst}, {100 * min(shares):.1f} % of " in found


def test_what_was_not_checked_says_so(record):
    entries = tuple(e.model_copy(update={"devices": ()}) for e in record.benchmark.entries)
    bare = record.benchmark.model_copy(update={"entries": entries})
    text = report.card(record.model_copy(update={"benchmark": bare}))
    for name in ("Worst class", "Classes", "Microcontrollers and NPUs", "Robustness"):
        assert "not checked" in _line(text, name)
    listed = _line(text, "Not measured")
    for name in ("worst class", "microcontrollers and NPUs", "robustness", "classes"):
        assert f"{name}, " in listed
    assert "latency and energy on other machines" in listed


def _of_task(record, **quality):
    """The record of a run whose files are of another task."""
    full = {"accuracy": None, "expected_calibration_error": None, "worst_class": None} | quality
    entries = tuple(
        e.model_copy(update={"quality": e.quality.model_copy(update=full)})
        for e in record.benchmark.entries
    )
    bench = record.benchmark.model_copy(update={"entries": entries})
    exports = {
        name: export.model_copy(update={"verification": _values(export.verification)})
        for name, export in record.exports.exports.items()
    }
    files = record.exports.model_copy(update={"exports": exports})
    return record.model_copy(update={"benchmark": bench, "exports": files})


def _values(verification):
    score = MeasureRecord(reference=0.9, file=0.875)
    wrong = {"metric": "R2", "measures": {"R2": score}, "worst_class": None}
    outputs = tuple(o.model_copy(update=wrong) for o in verification.outputs)
    return verification.model_copy(update={"outputs": outputs})


def test_other_tasks_show_their_own_measure_and_what_is_worst(record):
    text = report.card(_of_task(record, metric="R2", measures={"R2": 0.875, "MAE": 0.25}))
    assert "regression" in _line(text, "Task") and "0.875 on" in _line(text, "R2")
    assert "R2 0.875; 0.9 before" in _line(text, "Output that loses most")
    for name in ("Worst class", "Calibration", "Classes"):  # it has none
        assert f"**{name}:**" not in text
    text = report.card(_of_task(record, metric="AUC", measures={"AUC": None}))
    assert "anomalies" in _line(text, "Task") and "not checked" in _line(text, "AUC")
    assert "aUC" not in text and "AUC, " in _line(text, "Not measured")
    lost = WorstClass(label=1, samples=40, score_reference=0.75, score=0.5)
    regions = {"metric": "mIoU", "measures": {"mIoU": 0.8}, "accuracy": 0.95}
    text = report.card(_of_task(record, worst_class=lost, **regions))
    assert "for each pixel" in _line(text, "Task") and "80.00% on" in _line(text, "mIoU")
    shown = f"{record.data.class_names[1]}, 50.0 % of 40 pixels; 75.0 % in"
    assert shown in _line(text, "Class that loses most") and "Wilson" not in text
    assert "calibration" in _line(text, "Not measured")


def test_a_device_that_does_not_take_the_file_is_a_limit(record):
    refused = TFLMResult(target="tflm", runs=False, operator="GELU", operators=3)
    entries = tuple(e.model_copy(update={"devices": (refused,)}) for e in record.benchmark.entries)
    bench = record.benchmark.model_copy(update={"entries": entries})
    text = report.card(record.model_copy(update={"benchmark": bench}))
    assert _line(text, "Not for tflm").endswith("GELU is not supported")
    page = report.render(record.model_copy(update={"benchmark": bench}))
    assert '<span class="badge bad">GELU is not supported</span>' in page


def test_texts_of_the_user_are_no_markup(record):
    data = record.data.model_copy(
        update={"class_names": ("<b>\n# x", *record.data.class_names[1:])}
    )
    text = report.card(record.model_copy(update={"data": data}))
    assert r"\<b\> \# x" in text and "\n# x" not in text


def test_the_verb_writes_the_card_again(run, tmp_path, capsys):
    before = (run / "card.md").read_text()
    (run / "card.md").unlink()
    assert main(["report", str(run), "--card"]) == 0
    assert (run / "card.md").read_text() == before
    other = tmp_path / "other.md"
    assert main(["report", str(run), "--card", "-o", str(other)]) == 0
    assert main(["report", str(run), "--card", "-o", str(other)]) == 2
    assert "exists" in capsys.readouterr().err


def test_only_a_run_has_a_card(record, tmp_path):
    path = tmp_path / "benchmark.json"
    path.write_text(json.dumps(json.loads(record.benchmark.model_dump_json())))
    with pytest.raises(InputError, match="only a run has a model card"):
        report.write_card(path)


def test_the_page_says_where_the_files_run(run, record):
    results = [r for e in record.benchmark.entries for r in e.devices]
    assert {r.target for r in results} == {"xnnpack"} and all(r.runs for r in results)
    page = (run / "report.html").read_text()
    assert 'id="devices"' in page and f"{results[0].taken} of {results[0].operators}" in page
    assert "<summary>Kotlin</summary>" in page and "AutoCloseable" in page
