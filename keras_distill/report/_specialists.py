"""The page about specialists: class sets with pictures, Tables 3 and 4, and changes per class."""

import os
from collections.abc import Sequence
from pathlib import Path

from keras_distill._internal import _files
from keras_distill._internal._stats import mean_interval
from keras_distill.records import ClassRow, IntervalRecord, SpecialistsReport, SystemResult
from keras_distill.report._template import render_template

_CHANGES_SHOWN = 12
# Field of a row -> title of its column.
_TERMINAL = {
    "title": "system",
    "accuracy": "top-1, %",
    "conditional": "conditional, %",
    "relative": "relative change, %",
}
_SYSTEMS = {
    "title": "system",
    "accuracy": "top-1, %",
    "conditional": "conditional, %",
    "within": "within sets, %",
    "relative": "relative change, %",
    "gain": "change, points",
    "seeds": "seeds",
}
_Table = tuple[list[str], list[list[str]]]  # titles of the columns, rows


def render_specialists(report: SpecialistsReport) -> str:
    """Renders the page as HTML, without scripts and without references to other files.

    Args:
        report: The evaluation.
    """
    names = {row.class_id: row.name for row in report.classes}
    changes = sorted(report.classes, key=lambda row: row.ensemble - row.generalist)
    lost = [row for row in changes[:_CHANGES_SHOWN] if row.ensemble < row.generalist]
    return render_template(
        "specialists.html",
        report=report,
        systems=_columns(_SYSTEMS, report),
        coverage=_coverage(report),
        gained=_changes("Gained most", changes[::-1][:_CHANGES_SHOWN]),
        lost=_changes("Lost most", lost),
        clusters=[[(i, names.get(i, str(i))) for i in ids] for ids in report.class_sets],
        left_alone=[names.get(i, str(i)) for i in report.left_alone],
    )


def write_specialists(
    report: SpecialistsReport, output: str | os.PathLike, *, overwrite: bool = False
) -> Path:
    """Writes the page about specialists.

    Args:
        report: The evaluation.
        output: The HTML file.
        overwrite: Whether to replace an existing page.

    Raises:
        InputError: If the page exists and may not be replaced.
    """
    return _files.write_text(output, render_specialists(report), overwrite=overwrite)


def specialists_table(report: SpecialistsReport) -> _Table:
    """Returns Table 3 for a terminal: the columns, and one row per system.

    Args:
        report: The evaluation.
    """
    return _columns(_TERMINAL, report)


def _columns(titles: dict[str, str], report: SpecialistsReport) -> _Table:
    rows = [_row(system) for system in report.systems]
    return list(titles.values()), [[row[key] for key in titles] for row in rows]


def _coverage(report: SpecialistsReport) -> _Table:
    columns = ["specialists", "examples", "generalist, %", "with specialists, %"]
    rows = [
        [
            str(row.specialists),
            str(row.examples),
            _percent(row.generalist),
            _percent(row.ensemble),
            _signed(row.change),
        ]
        for row in report.coverage
    ]
    return [*columns, "relative change, %"], rows


def _changes(title: str, classes: Sequence[ClassRow]) -> _Table:
    rows = [
        [
            row.name,
            _percent(row.generalist),
            _percent(row.ensemble),
            _signed(row.ensemble - row.generalist),
        ]
        for row in classes
    ]
    return [title, "before, %", "after, %", "points"], rows or [["no class", "", "", ""]]


def _row(system: SystemResult) -> dict[str, str]:
    changed = system.name != "generalist"
    return {
        "title": system.title,
        "accuracy": _mean(system.accuracy),
        "conditional": _mean(system.conditional),
        "within": _mean(system.within),
        "seeds": str(len(system.accuracy)),
        "relative": _interval(system.relative) if changed and system.relative else "",
        "gain": _interval(system.gain) if changed else "",
    }


def _mean(values: tuple[float | None, ...]) -> str:
    known = [100 * value for value in values if value is not None]
    if len(known) < len(values):
        return ""
    interval = mean_interval(known)
    if interval.n == 1:
        return f"{interval.value:.2f}"
    return f"{interval.value:.2f} ± {interval.high - interval.value:.2f}"


def _interval(interval: IntervalRecord) -> str:
    if interval.high is None:
        return f"{100 * interval.value:+.2f}"
    return f"{100 * interval.value:+.2f} ± {100 * (interval.high - interval.value):.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.1f}"
