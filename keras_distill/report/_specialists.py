"""The page about specialists: class sets with pictures, Tables 3 and 4, and changes per class."""

import os
from collections.abc import Sequence
from pathlib import Path

from keras_distill._internal import _files
from keras_distill._internal._stats import mean_interval
from keras_distill.records import ClassRow, IntervalRecord, SpecialistsReport, SystemResult
from keras_distill.report import _words
from keras_distill.report._cells import Table
from keras_distill.report._charts import WIDE, Chart
from keras_distill.report._colors import ALONE, DISTILLED, TEACHER
from keras_distill.report._plots import Reference, Row, intervals
from keras_distill.report._template import render_template
from keras_distill.report._verdict import Banner

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
LONGER = "longer"
"""Name of the system that is the control: the generalist, trained for as many further steps."""
_TERMS = {
    "top-1, %": "Share of the examples that is predicted right; mean and 95 % interval over the"
    " training seeds.",
    "conditional, %": "On examples of the classes that specialists cover, the prediction chosen"
    " among these classes.",
    "within sets, %": "The same for each set by itself.",
    "relative change, %": "Change of top-1 relative to the generalist; interval over the training"
    " seeds.",
    "change, points": "Change of top-1 against the generalist; interval over the examples, paired.",
    "specialists": "Number of specialists that cover the true class.",
}
_Table = tuple[list[str], list[list[str]]]  # titles of the columns, rows


def render_specialists(report: SpecialistsReport) -> str:
    """Renders the page as HTML, without scripts and without references to other files.

    Args:
        report: The evaluation.
    """
    names = {row.class_id: row.name for row in report.classes}
    changes = sorted(report.classes, key=lambda row: row.ensemble - row.generalist)
    gained = changes[::-1][:_CHANGES_SHOWN]
    lost = [row for row in changes[:_CHANGES_SHOWN] if row.ensemble < row.generalist]
    return render_template(
        "specialists.html",
        report=report,
        verdict=verdict(report),
        banner_list=_banners(report),
        gains=_gains(report),
        systems=_table("Systems", _columns(_SYSTEMS, report)),
        coverage=_table("Accuracy by coverage", _coverage(report)),
        changes=[
            _table("Classes that gained most", _changes("gained most", gained)),
            _table("Classes that lost most", _changes("lost most", lost)),
        ],
        clusters=[[(i, names.get(i, str(i))) for i in ids] for ids in report.class_sets],
        left_alone=[names.get(i, str(i)) for i in report.left_alone],
        raw=report.model_dump_json(indent=1, exclude={"images"}),
    )


def _table(label: str, found: _Table) -> Table:
    columns, rows = found
    terms = {name: _TERMS[name] for name in columns if name in _TERMS}
    return Table(label, tuple(columns), [tuple(row) for row in rows], terms)


def _banners(report: SpecialistsReport) -> list[Banner]:
    if report.split != "validation":
        return []
    text = "By this split, class sets and settings are chosen: the results are optimistic."
    return [Banner("warn", "Evaluated on the validation split.", text)]


def verdict(report: SpecialistsReport) -> list[str]:
    """Explains whether specialists help, and whether they help more than further training."""
    ours = _system(report, "specialists")
    if ours is None:
        return []
    longer = _system(report, LONGER)
    gain, interval = ours.gain, _between(ours.gain)
    if gain.low is not None and gain.low > 0:
        shown = "Specialists help"
    elif gain.high is not None and gain.high < 0:
        shown = "Specialists hurt here"
    else:
        shown = "No effect of specialists is shown"
    value = _words.points(gain.value)
    than = "" if value == "the same" else " than that of the generalist"
    first = f"{shown}: the accuracy is {value}{than}{interval}."
    if longer is None:
        return [
            first,
            "There is no control. Train the generalist for as many further steps, and evaluate it"
            f" too, as --model {LONGER}.keras.",
        ]
    change = _words.points(longer.gain.value)
    both = f"{change}{_between(longer.gain)}"
    if longer.gain.value > gain.value:
        lead = "Training on beats specialists here"
    elif longer.gain.value < gain.value:
        lead = "Specialists beat training on"
    else:
        lead = "Specialists and training on gain the same"
    ends = (longer.gain.low, longer.gain.high, gain.low, gain.high)
    close = None not in ends and max(ends[0] or 0, ends[2] or 0) <= min(ends[1] or 0, ends[3] or 0)
    doubt = " The intervals overlap." if close else ""
    return [
        f"{lead}: the generalist, trained for as many further steps, is {both} than before.{doubt}",
        first,
    ]


def _between(interval: IntervalRecord) -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f" (95 % interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f} points)"


def _system(report: SpecialistsReport, name: str) -> SystemResult | None:
    return next((system for system in report.systems if system.name == name), None)


def _gains(report: SpecialistsReport) -> Chart:
    """Plots the gain of each system over the generalist, with the largest gain on top."""
    colors = {"specialists": DISTILLED, LONGER: ALONE}
    systems = sorted(report.systems[1:], key=lambda system: -system.gain.value)
    rows = [
        Row(
            system.title,
            colors.get(system.name, TEACHER),
            100 * system.gain.value,
            None if system.gain.low is None else 100 * system.gain.low,
            None if system.gain.high is None else 100 * system.gain.high,
            detail=f"{100 * system.gain.value:+.1f}",
        )
        for system in systems
    ]
    return intervals(
        rows,
        x="points of accuracy against the generalist",
        summary="What each system gains on the generalist, with 95 % intervals over the examples.",
        reference=Reference("generalist", TEACHER, 0),
        width=WIDE,
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
