"""The charts of a run."""

from collections.abc import Callable, Sequence

from keras_distill._internal._stats import mean_interval
from keras_distill.records import EntryRecord, RunRecord, VariantResult
from keras_distill.report import _words
from keras_distill.report._charts import Chart
from keras_distill.report._colors import ALL_LABELS, ALONE, DISTILLED, FILE, SERIES, TEACHER
from keras_distill.report._intervals import wilson
from keras_distill.report._plots import Point, Reference, Row, Series, curves, intervals, scatter
from keras_distill.report._summary import Row as Line
from keras_distill.report._summary import percent

COLORS = {
    "alone": ALONE,
    "alone_all_labels": ALL_LABELS,
    "distilled": DISTILLED,
    "label_smoothing": SERIES[7],
    "self": SERIES[2],
    "mutual": SERIES[6],
}
_ACCURACY = "test accuracy, %"
_SHORT = {"alone_all_labels": "alone,\nall labels"}


def _color(variant: VariantResult) -> str:
    return COLORS.get(variant.name, SERIES[4])  # the last color is for earlier generations


def training(record: RunRecord) -> Chart:
    """Plots validation accuracy over the epochs: mean of the seeds with its interval."""
    return curves(
        [_series(variant) for variant in record.variants],
        x="epochs",
        y="validation accuracy, %",
        summary="Validation accuracy during training of each variant of the student.",
        references=_teacher(record.teacher.validation_accuracy),
    )


def _teacher(accuracy: float | None) -> list[Reference]:
    return [] if accuracy is None else [Reference("teacher", TEACHER, 100 * accuracy)]


def _series(variant: VariantResult) -> Series:
    # Seeds that stopped early have shorter curves; the mean ends with the shortest curve.
    rounds = zip(*(s.curve.validation_accuracy for s in variant.seeds), strict=False)
    found = [mean_interval([100 * value for value in values]) for values in rounds]
    banded = len(variant.seeds) > 1
    return Series(
        _SHORT.get(variant.name, variant.name.replace("_", "\n")),
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
        x=_ACCURACY,
        summary="Test accuracy of each variant of the student, with 95 % intervals over seeds.",
        reference=next(iter(_teacher(record.teacher.test_accuracy)), None),
    )


def trade_offs(record: RunRecord, lines: Sequence[Line]) -> list[Chart]:
    """Plots size, latency, and memory of each file against its test accuracy."""
    wanted: list[tuple[str, Callable[[EntryRecord], float | None], float]] = [
        ("size of the file, KiB", lambda e: e.size.bytes, 1024),
        ("median latency, ms", lambda e: e.latency[0].median_ms, 1),
        ("peak memory, MiB", lambda e: e.size.peak_memory_bytes, 2**20),
    ]
    found: list[Chart] = []
    for axis, measure, unit in wanted:
        points = [
            _point(line, line.entry, measure, unit, record.data.test)
            for line in lines
            if line.entry is not None and line.accuracy is not None and measure(line.entry)
        ]
        if points:
            summary = f"Test accuracy against {axis.partition(',')[0]} of each file."
            found.append(scatter(points, x=axis, y=_ACCURACY, summary=summary, width=340))
    return found


def _point(
    line: Line,
    entry: EntryRecord,
    measure: Callable[[EntryRecord], float | None],
    unit: float,
    examples: int,
) -> Point:
    accuracy = line.accuracy or 0.0
    low, high = wilson(accuracy, examples)
    name = "teacher" if line.is_teacher else line.title.removeprefix("file ")
    details = [
        f"{name}: {_words.percent(accuracy)} ({100 * low:.1f} to {100 * high:.1f})",
        _words.size(line.bytes or 0),
        _words.duration(entry.latency[0].median_ms),
    ]
    return Point(
        name,
        TEACHER if line.is_teacher else FILE,
        (measure(entry) or 0) / unit,
        100 * accuracy,
        ", ".join(details),
        y_range=(100 * low, 100 * high),
        shape="square" if line.is_teacher else "diamond",
    )
