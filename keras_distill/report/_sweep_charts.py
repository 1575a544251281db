"""The charts of a sweep: a heat map or intervals by setting, learning curves, and differences."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from keras_distill.records import IntervalRecord, SweepPoint, SweepRecord
from keras_distill.report._charts import HALF, WIDE, Chart
from keras_distill.report._colors import ALONE, DISTILLED, SOFT
from keras_distill.report._plots import Reference, Row, Series, curves, intervals
from keras_distill.report._plots_grid import GridCell, heat_map
from keras_distill.report._sweep_summary import (
    percent,
    ranked,
    short_names,
    shown,
    title,
)

_MOST_ROWS = 30
_MOST_CURVES = 60
_CELLS = 200


def settings_charts(record: SweepRecord) -> list[Chart]:
    """Returns validation accuracy against the settings.

    With two keys, this is a heat map. Otherwise, each key has a row of intervals for each value.
    """
    points, keys = _varied(record)
    if _is_grid(points, keys):
        return [_grid(record, points, keys)]
    return [_by_value(record, points, key, alone=len(keys) == 1) for key in keys]


def settings_note(record: SweepRecord) -> str:
    """Explains the marks of `settings_charts`."""
    points, keys = _varied(record)
    if _is_grid(points, keys):
        return (
            "Thick frame: the best point. Thin frame: within one standard error of it. A cell leads"
            " to its settings."
        )
    if len(keys) == 1:
        return "Bar: 95 % interval. Dots: seeds. A mark leads to the settings of its point."
    return "Each row has the best point with that value; dots: all points with it."


def _varied(record: SweepRecord) -> tuple[list[SweepPoint], list[str]]:
    """Returns the trained points, best first, and the keys whose values differ between them."""
    points = [p for p in ranked(record) if not p.is_reference]
    return points, [key for key in record.keys if len(_values(points, key)) > 1]


def _is_grid(points: Sequence[SweepPoint], keys: Sequence[str]) -> bool:
    return len(keys) == 2 and math.prod(len(_values(points, key)) for key in keys) <= _CELLS


def anchor(point: SweepPoint) -> str:
    """Returns the id of the page section for a point."""
    return f"point-{point.name}"


def _values(points: Iterable[SweepPoint], key: str) -> list[Any]:
    """Returns the distinct values of a key: numbers in ascending order, others in given order."""
    found = {json.dumps(point.values[key]): point.values[key] for point in points}
    values = list(found.values())
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return sorted(values) if numbers else values


def _grid(record: SweepRecord, points: Sequence[SweepPoint], keys: Sequence[str]) -> Chart:
    # The key with more values is on the horizontal axis.
    across, down = sorted(keys, key=lambda key: -len(_values(points, key)))
    names = short_names(record.keys)
    cells: list[GridCell] = []
    for point in points:
        accuracy = point.validation_accuracy
        assert accuracy is not None  # a ranked point has one
        edge = 3.0 if point.name == record.best else 1.2 if point.name in record.flat else 0.0
        cells.append(
            GridCell(
                shown(point.values[across]),
                shown(point.values[down]),
                accuracy.value,
                f"{100 * accuracy.value:.1f}",
                f"{title(record, point)}: {percent(accuracy)} % on validation data,"
                f" {percent(point.test_accuracy)} % on test data",
                f"#{anchor(point)}",
                edge,
            )
        )
    return heat_map(
        cells,
        x=names[across],
        y=names[down],
        columns=[shown(value) for value in _values(points, across)],
        rows=[shown(value) for value in _values(points, down)],
        summary=f"Validation accuracy by {names[across]} and {names[down]}.",
    )


def _by_value(record: SweepRecord, points: Sequence[SweepPoint], key: str, *, alone: bool) -> Chart:
    """Returns a row for each value of a key: its best point, and all points as dots."""
    name, rows = short_names(record.keys)[key], []
    for value in _values(points, key)[:_MOST_ROWS]:
        here = [point for point in points if point.values[key] == value]
        best = here[0]  # ranked
        interval = best.validation_accuracy
        assert interval is not None
        if alone:
            dots = [100 * result.validation_accuracy for result in best.seeds]
        else:
            found = (point.validation_accuracy for point in here)
            dots = [100 * accuracy.value for accuracy in found if accuracy is not None]
        rows.append(
            Row(
                f"{name} {shown(value)}",
                DISTILLED,
                100 * interval.value,
                *_ends(interval),
                dots if len(dots) > 1 else (),
                f"{percent(interval)} %",
                f"#{anchor(best)}",
            )
        )
    return intervals(
        rows,
        x="validation accuracy, %",
        summary=f"Validation accuracy by {name}.",
        reference=_reference(record),
        width=WIDE if alone else HALF,
    )


def _ends(interval: IntervalRecord) -> tuple[float | None, float | None]:
    if interval.low is None or interval.high is None:
        return None, None
    return 100 * interval.low, 100 * interval.high


def _reference(record: SweepRecord) -> Reference | None:
    """Returns the reference if all points have the same reference."""
    found = [point for point in record.points if point.is_reference and point.validation_accuracy]
    if len(found) != 1 or found[0].validation_accuracy is None:
        return None
    return Reference(found[0].variant, ALONE, 100 * found[0].validation_accuracy.value)


def learning_curves(record: SweepRecord) -> Chart | None:
    """Returns the validation accuracy of every point over the epochs, with the best highlighted."""
    series: list[Series] = []
    for point in reversed(ranked(record)[:_MOST_CURVES]):
        courses = [result.curve for result in point.seeds]
        shortest = min(courses, key=lambda curve: len(curve.epochs))
        if len(shortest.epochs) < 2:
            continue
        best = point.name == record.best
        name = title(record, point)
        label = "best" if best else name if point.is_reference else ""
        columns = zip(*(c.validation_accuracy for c in courses), strict=False)
        mean = [100 * sum(column) / len(column) for column in columns]
        color = DISTILLED if best else ALONE if point.is_reference else SOFT
        course = mean[: len(shortest.epochs)]
        series.append(Series(label, color, shortest.epochs, course, title=name))
    if not series:
        return None
    return curves(
        series,
        x="epochs",
        y="validation accuracy, %",
        summary="Validation accuracy of every point over the epochs.",
        width=WIDE,
    )


def differences(record: SweepRecord) -> Chart | None:
    """Returns the difference between each point and its reference on test data."""
    rows: list[Row] = []
    for point in ranked(record):
        found = point.comparison
        if found is None:
            continue
        difference = found.difference
        pairs = _paired(record, point)
        adjusted = found.p_adjusted
        color = DISTILLED if adjusted is not None and adjusted < 0.05 else SOFT
        name = title(record, point)
        text = f"{100 * difference.value:+.2f}"  # a longer one is wider than a narrow screen
        link = f"#{anchor(point)}"
        rows.append(Row(name, color, 100 * difference.value, *_ends(difference), pairs, text, link))
    if not rows:
        return None
    return intervals(
        rows[:_MOST_ROWS],
        x="minus reference, points of test accuracy",
        summary="Difference of each point to its reference, with its 95 % interval.",
        reference=Reference("no difference", SOFT, 0.0),
        width=WIDE,
    )


def _paired(record: SweepRecord, point: SweepPoint) -> list[float]:
    """Returns the difference of each seed from the reference, in points; empty with one seed."""
    assert point.comparison is not None
    reference = record.point(point.comparison.reference)
    other = {result.seed: result.test_accuracy for result in reference.seeds}
    own = [result for result in point.seeds if result.seed in other]
    return [100 * (r.test_accuracy - other[r.seed]) for r in own] if len(own) > 1 else []
