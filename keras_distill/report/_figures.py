"""Draws the plots of a report as inline SVG."""

import io
import re
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_distill.records import Curve, RunRecord, VariantResult
from keras_distill.report._summary import Row

_COLORS = {
    "teacher": "#4c5667",
    "alone": "#c2571a",
    "alone_all_labels": "#8a8f98",
    "distilled": "#0b6e99",
}


def _svg(figure: Figure) -> str:
    """Converts a figure to one `<svg>` element, without a date and with constant ids."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "keras_distill"}):
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight"
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Without a fixed size it scales with the page.
    return re.sub(r'(<svg[^>]*?) height="[^"]*"|(<svg[^>]*?) width="[^"]*"', r"\1\2", text, count=2)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e3e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def curves(record: RunRecord) -> str:
    """Plots validation accuracy: each seed thin, the mean thick, the teacher dashed."""
    figure, axes = _axes(6.4, 3.6)
    for variant in record.variants:
        color = _COLORS[variant.name]
        for result in variant.seeds:
            axes.plot(*_course(result.curve), color=color, alpha=0.25, linewidth=1)
        epochs = variant.seeds[0].curve.epochs
        mean = [
            100 * sum(values) / len(values)
            for values in zip(*(s.curve.validation_accuracy for s in variant.seeds), strict=True)
        ]
        axes.plot(
            epochs, mean, color=color, linewidth=2.2, marker="o", markersize=3, label=variant.title
        )
    axes.axhline(
        100 * record.teacher.validation_accuracy,
        color=_COLORS["teacher"],
        linestyle="--",
        linewidth=1.2,
        label="teacher, final",
    )
    axes.set_xlabel("epochs")
    axes.set_ylabel("validation accuracy, %")
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def _course(curve: Curve) -> tuple[Sequence[int], list[float]]:
    return curve.epochs, [100 * value for value in curve.validation_accuracy]


def intervals(record: RunRecord) -> str:
    """Plots the test accuracy of each variant: seeds, and mean with its 95 % interval."""
    figure, axes = _axes(6.4, 0.7 + 0.55 * len(record.variants))
    variants: list[VariantResult] = list(reversed(record.variants))
    for height, variant in enumerate(variants):
        color = _COLORS[variant.name]
        dots = [100 * s.test_accuracy for s in variant.seeds]
        axes.plot(dots, [height - 0.18] * len(dots), "o", color=color, alpha=0.45, markersize=4)
        mean = variant.test_accuracy
        axes.plot(100 * mean.value, height + 0.08, "D", color=color, markersize=6)
        if mean.low is not None and mean.high is not None:
            axes.plot(
                [100 * mean.low, 100 * mean.high], [height + 0.08] * 2, color=color, linewidth=2
            )
    axes.axvline(
        100 * record.teacher.test_accuracy, color=_COLORS["teacher"], linestyle="--", linewidth=1.2
    )
    axes.set_yticks(range(len(variants)), [variant.title for variant in variants])
    axes.set_ylim(-0.6, len(variants) - 0.4)
    axes.set_xlabel("test accuracy, % (dashed: teacher)")
    return _svg(figure)


def size_against_accuracy(rows: Sequence[Row]) -> str:
    """Plots the bytes of each file, on a log axis, against its test accuracy."""
    figure, axes = _axes(6.4, 3.4)
    shown = [row for row in rows if row.bytes is not None]
    for number, row in enumerate(sorted(shown, key=lambda row: row.bytes or 0)):
        color = _COLORS["teacher" if row.is_teacher else "distilled"]
        place = (row.bytes or 0, 100 * row.accuracy)
        axes.plot(*place, "o", color=color, markersize=7)
        # Neighbors often have the same accuracy: their names alternate above and below.
        offset = (0, 9) if number % 2 else (0, -16)
        axes.annotate(
            row.title.removeprefix("file "),
            place,
            textcoords="offset points",
            xytext=offset,
            ha="center",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.3)
    axes.set_xlabel("bytes of the .tflite file")
    axes.set_ylabel("test accuracy, %")
    return _svg(figure)
