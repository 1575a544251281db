"""The model card of a run: what its file is, how good it is, and what was not checked.

The sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting"
(arXiv:1810.03993), if the record contains their content.
"""

from keras_distill.records import (
    EntryRecord,
    ExploredModel,
    ExploreRecord,
    ExportRecord,
    QualityRecord,
    RunRecord,
    shown_score,
)
from keras_distill.report import _words
from keras_distill.report._devices import arena
from keras_distill.report._intervals import wilson
from keras_distill.report._summary import files, rows, student_of
from keras_distill.report._verdict import headline_row

_NOT_CHECKED = "not checked"
_TASKS = {
    "accuracy": "classification into {} classes: {}",
    "mIoU": "segmentation, one of {} classes for each pixel: {}",
    "R2": "regression",
    "AUC": "detection of anomalies by the error of reconstruction",
}
_VALUES = ("R2", "AUC")  # metrics of tasks without classes


def card(record: RunRecord, explored: ExploreRecord | None = None) -> str:
    """Writes the model card of a run's file, as Markdown. It also says what the run did not check.

    Args:
        record: The record of the run.
        explored: The outputs of the models on the test split. If None, the card says that the worst
            class and the calibration were not checked.
    """
    row = headline_row(record)
    if row is None or row.entry is None:
        return f"# {_text(record.recipe.name)}\n\nNo file was made.\n"
    entry, export = row.entry, dict(files(record)).get(row.entry.name)
    sections = {
        "What it is": _facts(record, entry, export),
        "How good it is": _quality(record, entry, export, explored),
        "What it takes": _costs(record, entry),
        "How it was made": _making(record, export),
        "Limits": _limits(record, entry, export, explored),
    }
    sections["Limits"]["Not measured"] = _not_measured(sections)
    parts = [f"# {_text(entry.name)}", _text(record.recipe.summary)]
    parts += [f"## {title}\n\n{_list(facts)}" for title, facts in sections.items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _not_measured(sections: dict[str, dict[str, str]]) -> str:
    """Lists the measurements for which the card has no number."""
    names = [
        name if name[1:2].isupper() else f"{name[0].lower()}{name[1:]}"
        for facts in sections.values()
        for name, text in facts.items()
        if text.endswith(_NOT_CHECKED)
    ]
    return ", ".join([*names, "latency and energy on other machines than the one named above"])


def _list(facts: dict[str, str]) -> str:
    return "\n".join(f"- **{name}:** {text}" for name, text in facts.items())


def _text(text: str) -> str:
    """Returns the user's text on a single line, without Markdown and HTML markup."""
    line = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in line)


def _facts(record: RunRecord, entry: EntryRecord, export: ExportRecord | None) -> dict[str, str]:
    names, quality = record.data.class_names, entry.quality
    shown = ", ".join(map(_text, names[:20])) + (", …" if len(names) > 20 else "")
    found = {
        "Task": _TASKS["accuracy" if quality is None else quality.metric].format(len(names), shown),
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
    record: RunRecord,
    entry: EntryRecord,
    export: ExportRecord | None,
    explored: ExploreRecord | None,
) -> dict[str, str]:
    quality, teacher = entry.quality, record.teacher.test_accuracy
    found = {"Accuracy": _NOT_CHECKED} if quality is None else _scores(quality)
    if teacher is not None:
        found["Teacher"] = f"{_text(record.teacher.model)}, {_words.percent(teacher)}"
    found |= _weakest(record, quality, export, explored)
    error = None if quality is None else quality.expected_calibration_error
    if quality is None or quality.metric not in _VALUES:
        found["Calibration"] = _NOT_CHECKED
    if error is not None:
        found["Calibration"] = (
            f"expected calibration error {_words.percent(error)}: the mean gap between confidence"
            " and accuracy"
        )
    return found


def _scores(quality: QualityRecord) -> dict[str, str]:
    """Returns the accuracy with its interval, or the metrics of any other task."""
    rows = f"{quality.samples:,} test examples"
    if quality.metric == "accuracy":
        if quality.accuracy is None:
            return {"Accuracy": _NOT_CHECKED}
        low, high = wilson(quality.accuracy, quality.samples)
        interval = f"95 % Wilson interval {_words.percent(low)} to {_words.percent(high)}"
        return {"Accuracy": f"{_words.percent(quality.accuracy)} of {rows} ({interval})"}
    measures = {quality.metric: None, **quality.measures}
    found = {
        name: _NOT_CHECKED
        if value is None
        else f"{shown_score(name, value)} on {rows}, no interval"
        for name, value in measures.items()
    }
    if quality.accuracy is not None:
        found["Accuracy of pixels"] = _words.percent(quality.accuracy)
    return found


def _weakest(
    record: RunRecord,
    quality: QualityRecord | None,
    export: ExportRecord | None,
    explored: ExploreRecord | None,
) -> dict[str, str]:
    """Returns the class with the lowest accuracy, otherwise the class or output that loses most."""
    file = None if explored is None else explored.model("file")
    if explored is not None and file is not None:
        return {"Worst class": _worst(explored, file)}
    output = None if export is None else export.verification.worst
    lost = None if quality is None else quality.worst_class
    if lost is None and output is not None:
        lost = output.worst_class
    names = record.data.class_names
    if lost is not None:
        name = names[lost.label] if lost.label < len(names) else f"{lost.label}"
        unit = "pixels" if quality is not None and quality.metric == "mIoU" else "examples"
        share = f"{_words.percent(lost.score)} of {lost.samples:,} {unit}"
        before = f"{_words.percent(lost.score_reference)} in the model that it is compared with"
        found = {"Worst class": _NOT_CHECKED}
        return found | {"Class that loses most": f"{_text(name)}, {share}; {before}"}
    if quality is None or quality.metric not in _VALUES:
        return {"Worst class": _NOT_CHECKED}
    if output is None:
        return {"Output that loses most": _NOT_CHECKED}
    values = output.judged
    after, before = (shown_score(output.metric, v) for v in (values.file, values.reference))
    text = f"{_text(output.name)}, {output.metric} {after}; {before} before the conversion"
    return {"Output that loses most": text}


def _worst(explored: ExploreRecord, file: ExploredModel) -> str:
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
    if explored is None and (entry.quality is None or entry.quality.metric not in _VALUES):
        found["Classes"] = f"accuracy by class: {_NOT_CHECKED}"
    return found
