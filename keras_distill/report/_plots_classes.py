"""Charts of classifiers: accuracy by class, and reliability diagrams."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_distill.records import ExploredModel
from keras_distill.report._axes import Axis
from keras_distill.report._charts import HALF, NARROW, Chart, Padding, layer
from keras_distill.report._colors import INK, LINE, SOFT
from keras_distill.report._intervals import wilson
from keras_distill.report._labels import text_width
from keras_distill.report._marks import TIP, constant, dashed, label, mark

_ROW, _APART = 32, 6  # pixels
_LONGEST = 110  # pixels of a class name
_SMALL = 230  # width and height of a reliability diagram


class Look(NamedTuple):
    """The appearance of a model in all charts of a page."""

    name: str
    color: str
    shape: str


class ClassDots(NamedTuple):
    """A row of `class_dots`: a class, and a value in percent for each model."""

    name: str
    values: Sequence[float]


def class_dots(rows: Sequence[ClassDots], looks: Sequence[Look], *, x: str, summary: str) -> Chart:
    """Draws a row for each class with a mark for each model.

    Args:
        rows: The rows, from top to bottom.
        looks: The models.
        x: Title of the x axis, with its unit.
        summary: See `Chart`.
    """
    names = [_shortened(row.name) for row in rows]
    xs = Axis.around(x, (value for row in rows for value in row.values))
    padding = Padding(left=round(16 + max(map(text_width, names))), right=20, top=8)

    def draw(plot: int) -> dict[str, Any]:
        at_x = xs.horizontal(plot)
        layers: list[dict[str, Any]] = []
        for number, row in enumerate(rows):
            middle = constant(_ROW * (number + 0.5))
            span = [{"x": min(row.values), "x2": max(row.values)}]
            line = {"x2": {"field": "x2"}, "color": constant(LINE), "strokeWidth": 4}
            layers.append(layer("rule", span, x=at_x, y=middle, **line))
            layers.append(label(names[number], INK, -10, _ROW * (number + 0.5), "right", 400))
            for place, (look, value) in enumerate(zip(looks, row.values, strict=True)):
                # Slightly apart, so that equal values do not hide each other.
                at_y = constant(_ROW * (number + 0.5) + _APART * (place - (len(looks) - 1) / 2))
                spot = [{"x": value, "text": f"{row.name}, {look.name}: {value:.1f} %"}]
                at = {"x": at_x, "y": at_y, "description": TIP}
                layers.append(mark(spot, look.color, look.shape, at, scale=0.55))
        return {"height": _ROW * len(rows), "layer": layers}

    return Chart(summary, draw, padding, HALF)


def _shortened(name: str) -> str:
    while text_width(name) > _LONGEST:
        name = f"{name.rstrip('…')[:-1]}…"
    return name


def reliability(model: ExploredModel, color: str) -> Chart:
    """Draws accuracy against confidence, with 95 % intervals over the examples of each bin.

    The size of a mark shows the fraction of the examples.
    """
    axes = [
        Axis(title, 0, 1, ticks=(0, 0.25, 0.5, 0.75, 1), labels=("0", "25", "50", "75", "100"))
        for title in ("confidence, %", "accuracy, %")
    ]
    examples = sum(found.examples for found in model.bins)
    rows = [
        {
            "x": found.confidence,
            "y": found.accuracy,
            "size": 30 + 250 * found.examples / examples,
            **dict(zip(("low", "high"), wilson(found.accuracy, found.examples), strict=True)),
            "text": f"confidence {100 * found.confidence:.1f} %, accuracy"
            f" {100 * found.accuracy:.1f} %, {found.examples:,} examples",
        }
        for found in model.bins
    ]
    padding = Padding(left=38)

    def draw(plot: int) -> dict[str, Any]:
        at = {"x": axes[0].horizontal(plot), "y": axes[1].vertical(padding.left)}
        look = {**at, "color": constant(color)}
        low = {**look, "y": {**at["y"], "field": "low"}}
        sizes = {"field": "size", "type": "quantitative", "scale": None}
        return {
            "height": plot,
            "layer": [
                dashed([{"x": 0, "y": 0}, {"x": 1, "y": 1}], SOFT, "line", **at),
                layer("rule", rows, y2={"field": "high"}, opacity=0.5, strokeWidth=1.5, **low),
                layer("circle", rows, size=sizes, description=TIP, opacity=1, **look),
            ],
        }

    return Chart(
        f"Reliability of {model.title}: accuracy by confidence.", draw, padding, min(_SMALL, NARROW)
    )
