"""The HTML page of a sweep, created from its record. Does not need TensorFlow."""

import shlex
from typing import Any

import tomli_w

from keras_distill.records import SweepPoint, SweepRecord, written_value
from keras_distill.report import _sweep_charts as charts
from keras_distill.report import _sweep_summary as summary
from keras_distill.report._cells import EMPTY, Cell, Table
from keras_distill.report._template import render_template
from keras_distill.report._verdict import Banner
from keras_distill.report._words import percent, size

_TERMS = {
    "seeds": "Number of trainings; each has its own initial weights and order of the data.",
    "validation, %": "Mean accuracy over the seeds, with its 95 % t interval. It chooses the best.",
    "test, %": "Mean accuracy over the seeds, with its 95 % t interval.",
    "minus reference": "Points of test accuracy, paired by seed, with the 95 % t interval.",
    "p (Holm)": "Two-sided p-value of the paired t test, corrected for all comparisons of the sweep"
    " by Holm's method.",
}


def render_sweep(record: SweepRecord) -> str:
    """Renders the page of a sweep as self-contained HTML.

    Args:
        record: The record of the sweep.
    """
    trained = [point for point in record.points if not point.is_reference]
    return render_template(
        "sweep.html",
        record=record,
        points=len(trained),
        seeds=max((len(point.seeds) + len(point.failures) for point in record.points), default=0),
        banner_list=_banners(record),
        sentences=summary.sentences(record),
        settings=charts.settings_charts(record),
        settings_note=charts.settings_note(record),
        curves=charts.learning_curves(record),
        differences=charts.differences(record),
        table=_table(record),
        teachers=_teachers(record),
        note=summary.note(record),
        details=[_details(record, point) for point in record.points],
        recipe=tomli_w.dumps(record.recipe.model_dump(mode="json", exclude_none=True)),
    )


def _banners(record: SweepRecord) -> list[Banner]:
    found: list[Banner] = []
    if record.scale == "smoke":
        text = "two steps of everything. The numbers show only that every stage runs."
        found.append(Banner("bad", "A smoke run:", text))
    failed = sum(len(point.failures) for point in record.points)
    if failed:
        text = f"{failed} training{'s' if failed > 1 else ''}; the reasons are below."
        found.append(Banner("bad", "Failed:", text))
    if record.test_reads > 1:
        text = (
            f"{record.test_reads} commands added to this sweep. Each read the test split of its own"
            " students once; points that were added after test results were seen are no longer"
            " chosen blindly."
        )
        found.append(Banner("warn", "Several looks at the test split.", text))
    return found


def _table(record: SweepRecord) -> Table:
    columns = ("point", *summary.columns(record)[1:])
    rows: list[tuple[Cell | str, ...]] = []
    for point in record.points:
        first, *rest = summary.row(record, point)
        rows.append((f"{first or 'point'} {point.name.rpartition('-')[2]}", *rest))
    terms = {name: text for name, text in _TERMS.items() if name in columns}
    best = [i for i, point in enumerate(record.points) if point.name == record.best]
    return Table("Every point", columns, rows, terms, tuple(best))


def _teachers(record: SweepRecord) -> Table:
    rows: list[tuple[Cell | str, ...]] = [
        (
            teacher.model,
            teacher.source,
            EMPTY if teacher.parameters is None else f"{teacher.parameters:,}",
            EMPTY
            if teacher.validation_accuracy is None
            else Cell(percent(teacher.validation_accuracy), teacher.validation_accuracy),
            EMPTY
            if teacher.test_accuracy is None
            else Cell(percent(teacher.test_accuracy), teacher.test_accuracy),
            Cell(size(teacher.store_bytes), teacher.store_bytes),
        )
        for teacher in record.teachers
    ]
    columns = ("teacher", "data", "parameters", "validation", "test", "soft targets")
    return Table("Teachers", columns, rows, {})


def _details(record: SweepRecord, point: SweepPoint) -> dict[str, Any]:
    """Returns what the page shows for one point: its settings, and how to run only this point."""
    values = {key: value for key, value in point.values.items() if value is not None}
    options = [f"--set {shlex.quote(f'{k}={written_value(v)}')}" for k, v in values.items()]
    command = " ".join(["keras-distill run recipe.toml", *options])
    return {
        "anchor": charts.anchor(point),
        "name": point.name,
        "title": summary.title(record, point),
        "command": None if point.is_reference else command,
        "rows": [
            (str(r.seed), percent(r.validation_accuracy, 2), percent(r.test_accuracy, 2))
            for r in point.seeds
        ],
        "failures": point.failures,
        "facts": ", ".join(
            f"{value:,} {what}"
            for value, what in (
                (point.parameters, "parameters"),
                (point.steps, "steps"),
                (point.labels, "labels"),
            )
            if value is not None
        ),
    }
