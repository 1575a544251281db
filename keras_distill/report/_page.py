"""The HTML page of a run, made from its record. Needs no TensorFlow."""

import os
from pathlib import Path

import tomli_w

from keras_distill._internal import InputError, _files
from keras_distill.records import RunRecord
from keras_distill.report import _compression, _figures, _shrink, _summary
from keras_distill.report._template import render_template

# What drawing raises on values that each fit, and do not fit together.
_CONTRADICTIONS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    StopIteration,
    TypeError,
    ValueError,
)


def render(record: RunRecord) -> str:
    """Renders the page as HTML, without scripts and without references to other files.

    Args:
        record: The record of the run.
    """
    rows = _summary.rows(record)
    return render_template(
        "run.html",
        record=record,
        cards=_cards(record, rows),
        sentences=_summary.sentences(record),
        header=_summary.HEADER,
        rows=[row.cells for row in rows],
        highlighted=[i for i, row in enumerate(rows) if row.entry and not row.is_teacher],
        note=_summary.note(record),
        figures={
            "training": _figures.training(record),
            "variants": _figures.variants(record),
            "trade_offs": _figures.trade_offs(record, rows),
        },
        shrink=_shrink.section(record),
        compression={
            "header": _compression.HEADER,
            "rows": _compression.table(record),
            "note": _compression.note(record),
        },
        files=_summary.files(record),
        missing=_summary.missing(record),
        method=_summary.method(record),
        recipe=tomli_w.dumps(record.recipe.model_dump(mode="json", exclude_none=True)),
    )


def write(
    run: str | os.PathLike, output: str | os.PathLike | None = None, *, overwrite: bool = False
) -> Path:
    """Writes the page of a run.

    Args:
        run: The run's folder, or its `record.json`.
        output: The HTML file; None: `report.html` in the folder of the record.
        overwrite: Whether to replace an existing page.

    Returns:
        The path of the page.

    Raises:
        InputError: If there is no valid record, or the page exists and may not be replaced.
    """
    run = Path(run)
    record = run / "record.json" if run.is_dir() else run
    output = Path(output or record.with_name("report.html"))
    _files.check_output(output, overwrite=overwrite, folder=False)
    found = RunRecord.load(record)
    try:
        page = render(found)
    except _CONTRADICTIONS as error:
        raise InputError(
            f"{record}: the values contradict each other: {type(error).__name__}: {error!s:.200}"
        ) from error
    return _files.write_text(output, page, overwrite=overwrite)


def _cards(record: RunRecord, rows: list[_summary.Row]) -> list[dict[str, str]]:
    cards, teacher = [], record.teacher.test_accuracy
    if teacher is not None:
        cards.append({"value": f"{100 * teacher:.1f} %", "label": "teacher, test accuracy"})
    for variant in record.variants:
        if variant.name in ("alone", "distilled"):
            value = f"{100 * variant.test_accuracy.value:.1f} %"
            cards.append({"value": value, "label": variant.title})
    files = [row for row in rows if row.entry is not None and not row.is_teacher]
    if files:
        smallest = min(files, key=lambda row: row.bytes or 0)
        than = f", teacher {rows[0].bytes / 1024:.0f} KiB" if rows[0].bytes else ""
        value = f"{(smallest.bytes or 0) / 1024:.1f} KiB"
        cards.append({"value": value, "label": f"{smallest.title}{than}"})
    return cards
