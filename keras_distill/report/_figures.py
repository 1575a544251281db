"""The charts of a run."""

from collections.abc import Callable, Sequence

from keras_distill._internal._stats import mean_interval
from keras_distill.records import EntryRecord, RunRecord, VariantResult
from keras_distill.report import _words
from keras_distill.report._charts import Chart
from keras_distill.report._colors import ALL_LABELS, ALONE, DISTILLED, FILE, SERIES, TEACHER
from keras_distill.report._plots import Point, Reference, Row, Series, curves, intervals, scatter
from keras_distill.report._summary import Row as Line
from keras_distill.report._summary import percent, wilson

COLORS = {
    "alone": ALONE,
    "alone_all_labels": ALL_LABELS,
    "distilled": DISTILLED,
    "label_smoothing": SERIES[7],
    "self": SERIES[2],
}
_SHORT = {"alone_all_labels": "alone,\nall labels", "label_smoothing": "label\nsmoothing"}


def training(record: RunRecord) -> Chart:
    """Plots validation accuracy over the epochs: mean of the seeds with its interval."""
    return curves(
        [_series(variant) for variant in record.variants],
        x="epochs",
        y="validation accuracy, %",
        summary="Validation accuracy during training of each variant of the student.",
        references=_references(record.teacher.validation_accuracy),
    )


def _references(accuracy: float | None) -> list[Reference]:
    """Returns the line of the teacher's accuracy, if it is known."""
    return [] if accuracy is None else [Reference("teacher", TEACHER, 100 * accuracy)]


def _color(variant: VariantResult) -> str:
    return COLORS.get(variant.name, SERIES[4])  # the last is that of an earlier generation


def _series(variant: VariantResult) -> Series:
    # Seeds that stopped early have shorter curves: the mean ends with the shortest.
    rounds = zip(*(s.curve.validation_accuracy for s in variant.seeds), strict=False)
    found = [mean_interval([100 * value for value in values]) for values in rounds]
    banded = len(variant.seeds) > 1
    return Series(
        _SHORT.get(variant.name, variant.name.replace("_", " ")),
        _color(variant),
        variant.seeds[0].curve.epochs[: len(found)],
        [one.value for one in found],
        [max(0.0, one.low) for one in found] if banded else (),
        [min(100.0, one.high) for one in found] if banded else (),
    )


def variants(record: RunRecord) -> Chart:
    """Plots the test accuracy of each variant: its seeds, and their mean with its interval."""
    rows: list[Row] = []
    for variant in record.variants:
        mean = variant.test_accuracy
        low, high = (None if end is None else 100 * end for end in (mean.low, mean.high))
        seeds = [100 * result.test_accuracy for result in variant.seeds]
        color = _color(variant)
        rows.append(Row(variant.title, color, 100 * mean.value, low, high, seeds, percent(mean)))
    return intervals(
        rows,
        x="test accuracy, %",
        summary="Test accuracy of each variant of the student, with 95 % intervals over seeds.",
        reference=next(iter(_references(record.teacher.test_accuracy)), None),
    )


def trade_offs(record: RunRecord, lines: Sequence[Line]) -> list[tuple[str, Chart]]:
    """Plots size, latency, and memory of each file against its test accuracy."""
    wanted: list[tuple[str, str, Callable[[EntryRecord], float | None]]] = [
        ("Size", "size of the file, KiB", lambda e: (e.size.bytes or 0) / 1024),
        ("Latency", "median latency, ms", lambda e: e.latency[0].median_ms),
        ("Memory", "peak memory, MiB", lambda e: (e.size.peak_memory_bytes or 0) / 2**20),
    ]
    found = []
    for title, axis, measure in wanted:
        points = [
            _point(line, measure, record.data.test) for line in lines if line.entry is not None
        ]
        if all(point.x > 0 for point in points):
            summary = f"{title} of each file against its test accuracy."
            found.append((title, scatter(points, x=axis, y="test accuracy, %", summary=summary)))
    return found


def _point(line: Line, measure: Callable[[EntryRecord], float | None], examples: int) -> Point:
    entry = line.entry
    assert entry is not None and line.accuracy is not None  # it is a file
    low, high = wilson(line.accuracy, examples)
    name = "teacher" if line.is_teacher else line.title.removeprefix("file ")
    latency = entry.latency[0]
    details = [
        f"{name}: {_words.percent(line.accuracy)} ({100 * low:.1f} to {100 * high:.1f})",
        _words.size(line.bytes or 0),
        _words.duration(latency.median_ms),
    ]
    return Point(
        name,
        TEACHER if line.is_teacher else FILE,
        measure(entry) or 0,
        100 * line.accuracy,
        ", ".join(details),
        y_range=(100 * low, 100 * high),
        shape="square" if line.is_teacher else "circle",
    )
