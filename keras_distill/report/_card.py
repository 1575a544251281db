"""The model card of a run: what its file is, how good it is, and what was not checked.

The sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting"
(arXiv:1810.03993), as far as a record can fill them.
"""

from keras_distill.records import EntryRecord, ExploredModel, ExploreRecord, ExportRecord, RunRecord
from keras_distill.report import _words
from keras_distill.report._devices import arena
from keras_distill.report._intervals import wilson
from keras_distill.report._summary import files, rows, student_of
from keras_distill.report._verdict import headline_row

_NOT_CHECKED = "not checked"


def card(record: RunRecord, explored: ExploreRecord | None = None) -> str:
    """Writes the model card of a run's file, as Markdown. Whatever the run did not check says so.

    Args:
        record: The record of the run.
        explored: What the models say about the test split; None: the worst class and calibration
            are stated as not checked.
    """
    row = headline_row(record)
    if row is None or row.entry is None:
        return f"# {_text(record.recipe.name)}\n\nNo file was made.\n"
    entry, export = row.entry, dict(files(record)).get(row.entry.name)
    parts = [
        f"# {_text(entry.name)}",
        _text(record.recipe.summary),
        "## What it is",
        _list(_facts(record, entry, export)),
        "## How good it is",
        _list(_quality(record, entry, explored)),
        "## What it takes",
        _list(_costs(record, entry)),
        "## How it was made",
        _list(_making(record, export)),
        "## Limits",
        _list(_limits(record, entry, export, explored)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _list(facts: dict[str, str]) -> str:
    return "\n".join(f"- **{name}:** {text}" for name, text in facts.items())


def _text(text: str) -> str:
    """Returns a text of the user on one line, without marks of Markdown and HTML."""
    line = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in line)


def _facts(record: RunRecord, entry: EntryRecord, export: ExportRecord | None) -> dict[str, str]:
    names = record.data.class_names
    shown = ", ".join(map(_text, names[:20])) + (", …" if len(names) > 20 else "")
    found = {
        "Task": f"classification into {len(names)} classes: {shown}",
        "Data": f"{_text(record.data.source)}: {record.data.train:,} training,"
        f" {record.data.validation:,} validation, {record.data.test:,} test examples",
        "Input": f"{' x '.join(map(str, record.data.input_shape))}, raw values",
    }
    if export is not None:
        tensors = [*export.inputs, *export.outputs]
        found["Tensors"] = "; ".join(
            f"{_text(t.name)} {t.dtype}"
            + ("" if t.scale is None else f" (scale {t.scale:.6g}, zero point {t.zero_point})")
            for t in tensors
        )
        found["SHA-256"] = export.sha256
    return found | {"Precision": entry.precision}


def _quality(
    record: RunRecord, entry: EntryRecord, explored: ExploreRecord | None
) -> dict[str, str]:
    found: dict[str, str] = {}
    quality, teacher = entry.quality, record.teacher.test_accuracy
    if quality is not None and quality.accuracy is not None:
        low, high = wilson(quality.accuracy, quality.samples)
        found["Accuracy"] = (
            f"{_words.percent(quality.accuracy)} of {quality.samples:,} test examples (95 % Wilson"
            f" interval {_words.percent(low)} to {_words.percent(high)})"
        )
    elif quality is not None:
        found |= {
            name: _NOT_CHECKED if value is None else f"{value:.4g} on {quality.samples:,} examples"
            for name, value in quality.measures.items()
        }
    if teacher is not None:
        found["Teacher"] = f"{_text(record.teacher.model)}, {_words.percent(teacher)}"
    file = None if explored is None else explored.model("file")
    known = explored is not None and file is not None
    found["Worst class"] = _worst(explored, file) if known else _NOT_CHECKED
    error = None if quality is None else quality.expected_calibration_error
    found["Calibration"] = _NOT_CHECKED
    if error is not None:
        found["Calibration"] = (
            f"expected calibration error {_words.percent(error)}: the mean gap between confidence"
            " and accuracy"
        )
    return found


def _worst(explored: ExploreRecord | None, file: ExploredModel | None) -> str:
    assert explored is not None and file is not None
    shares = [
        (right / count, count, name)
        for right, count, name in zip(
            file.correct, explored.class_examples, explored.class_names, strict=True
        )
        if count
    ]
    if not shares:
        return _NOT_CHECKED
    share, count, name = min(shares)
    return f"{_text(name)}, {_words.percent(share)} of {count:,} test examples"


def _costs(record: RunRecord, entry: EntryRecord) -> dict[str, str]:
    latency, memory = entry.latency[0], entry.size.peak_memory_bytes
    found = {
        "Size": f"{entry.size.bytes or 0:,} bytes, {entry.size.gzip_bytes or 0:,} after gzip;"
        f" {entry.size.parameters:,} parameters",
        "Latency": f"{_words.duration(latency.median_ms)} a call at batch size 1 on"
        f" {_text(record.machine)}",
        "RAM": _NOT_CHECKED if memory is None else f"{_words.size(memory)} in LiteRT",
    }
    needed = arena(entry)
    if needed is not None:
        found["Microcontroller RAM"] = f"{_words.size(needed)} of arena, measured on a PC"
    for result in entry.devices:
        found[result.target] = _text(result.statement)
    if not entry.devices:
        found["Microcontrollers and NPUs"] = _NOT_CHECKED
    return found


def _making(record: RunRecord, export: ExportRecord | None) -> dict[str, str]:
    recipe, variant = record.recipe, record.variant("distilled")
    found = {
        "Student": _text(student_of(record)),
        "Distilled from": f"{_text(record.teacher.model)}: {_text(str(recipe.distillation))}",
        "Labels seen": f"{variant.labels:,}",
        "Training": f"{variant.steps:,} steps, seed {record.chosen_seed} of {len(variant.seeds)}"
        " chosen on validation data",
        "Recipe": "recipe.toml, beside this card",
    }
    if export is not None and export.recipe.calibration is not None:
        calibration = export.recipe.calibration
        found["Quantized on"] = f"{calibration.samples:,} rows of {_text(calibration.source)}"
    if record.compress is not None and record.compress.record is not None:
        steps = ", ".join(step.step for step in record.compress.record.steps)
        found["Compressed by"] = _text(steps)
    return found


def _limits(
    record: RunRecord,
    entry: EntryRecord,
    export: ExportRecord | None,
    explored: ExploreRecord | None,
) -> dict[str, str]:
    found = {
        "Data": "accuracy holds for data like the test split; other sources, sensors, and groups of"
        " people were not checked",
        "Robustness": f"noise, other classes, and attacks: {_NOT_CHECKED}",
    }
    if record.scale == "smoke":
        found["Smoke run"] = "two training steps: the numbers mean nothing"
    if export is not None and not export.verification.passed:
        found["Verification"] = _text(export.verification.statement)
    elif export is not None:
        found["Verification"] = f"passed, {_text(export.verification.statement)}"
    else:
        found["Verification"] = _NOT_CHECKED
    refused = [result for result in entry.devices if not result.runs]
    for result in refused:
        found[f"Not for {result.target}"] = _text(result.refusal())
    if record.data.notes:
        found["Notes on the data"] = _text("; ".join(record.data.notes))
    if rows(record)[0].accuracy is None:
        found["Teacher's accuracy"] = _NOT_CHECKED
    if explored is None:
        found["Classes"] = f"accuracy by class: {_NOT_CHECKED}"
    return found
