"""The charts that pages have in common: curves, intervals by row, and points with labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from keras_distill.report._axes import Axis
from keras_distill.report._charts import HALF, Chart, Padding, layer
from keras_distill.report._colors import INK
from keras_distill.report._labels import BOLD, LINE_HEIGHT, Box, place, spread, text_width, wrap
from keras_distill.report._marks import TIP, constant, dashed, label, mark

_HEIGHT = 250
_ROW = 46  # pixels of a row of `intervals`
_MARKED = 40  # curves of more points get no mark at each
_Layers = list[dict[str, Any]]


@dataclass(frozen=True)
class Series:
    """A curve, with a band around it.

    Attributes:
        name: Its label, at the end of the curve; may have several lines. If empty, the curve is
            faint and has no label.
        color: A color of `_colors`.
        x: Ascending values.
        y: A value for each x.
        low: Lower ends of the intervals; empty for no band; None for points without an interval.
        high: Upper ends.
        title: Its name in tooltips, if different.
    """

    name: str
    color: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    title: str = ""


@dataclass(frozen=True)
class Reference:
    """A dashed line with a label, such as the accuracy of the teacher."""

    name: str
    color: str
    value: float


@dataclass(frozen=True)
class Row:
    """A row of `intervals`: a value with its interval, and the observations behind it.

    Attributes:
        name: Its label.
        color: A color of `_colors`.
        value: The value.
        low: Lower end of the interval; None for no interval.
        high: Upper end.
        dots: The observations.
        detail: The value as text, for the label and the tooltip.
        link: Target of a click on its marks, such as "#section"; empty for no link.
    """

    name: str
    color: str
    value: float
    low: float | None = None
    high: float | None = None
    dots: Sequence[float] = ()
    detail: str = ""
    link: str = ""


@dataclass(frozen=True)
class Point:
    """A point of `scatter`, with intervals in both directions.

    Attributes:
        name: Its label; empty for no label.
        color: A color of `_colors`.
        x: Value.
        y: Value.
        detail: Its tooltip.
        x_range: Interval of x.
        y_range: Interval of y.
        shape: A shape of Vega: "circle", "square", "diamond", "triangle-up".
    """

    name: str
    color: str
    x: float
    y: float
    detail: str = ""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    shape: str = "circle"


def curves(
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    summary: str,
    references: Sequence[Reference] = (),
    log_x: bool = False,
    width: int = HALF,
) -> Chart:
    """Draws curves with bands, each with its name at the end.

    Args:
        series: The curves.
        x: Title of the x axis, with its unit.
        y: Title of the y axis, with its unit.
        summary: See `Chart`.
        references: Horizontal dashed lines.
        log_x: Whether the x axis is logarithmic, as for temperatures and learning rates.
        width: Width of the wide drawing.
    """
    xs = Axis.around(x, (v for s in series for v in s.x), log=log_x, tight=True)
    values = [v for s in series for part in (s.y, s.low, s.high) for v in part if v is not None]
    ys = Axis.around(y, [*values, *(reference.value for reference in references)])
    whole = not log_x and all(float(v).is_integer() for s in series for v in s.x)
    names = [item.name for item in (*series, *references) if item.name]
    padding = Padding(right=round(14 + max(map(text_width, names), default=0)))

    def draw(plot: int) -> dict[str, Any]:
        at_x, at_y = xs.horizontal(plot, whole=whole), ys.vertical(padding.left)
        layers = [_level(reference, at_y) for reference in references]
        for one in series:
            layers += _curve(one, x, at_x, at_y)
        ends = [(s.name, s.color, s.y[-1]) for s in series if s.name]
        ends += [(r.name, r.color, r.value) for r in references]
        heights = spread(
            [_HEIGHT * (1 - ys.share(value)) for _, _, value in ends],
            LINE_HEIGHT * max((name.count("\n") + 1 for name in names), default=1),
        )
        for (name, color, _), height in zip(ends, heights, strict=True):
            layers.append(label(name, color, plot + 8, height))
        return {"height": _HEIGHT, "layer": layers}

    return Chart(summary, draw, padding, width)


def intervals(
    rows: Sequence[Row],
    *,
    x: str,
    summary: str,
    reference: Reference | None = None,
    width: int = HALF,
) -> Chart:
    """Draws a row for each value: its name, its interval, and the observations behind it.

    Args:
        rows: The rows, from top to bottom.
        x: Title of the x axis, with its unit.
        summary: See `Chart`.
        reference: A vertical dashed line.
        width: Width of the wide drawing.
    """
    values = [v for row in rows for v in (row.value, row.low, row.high, *row.dots) if v is not None]
    xs = Axis.around(x, values if reference is None else [*values, reference.value])
    padding = Padding(left=10, right=24, top=24 if reference else 6)
    texts = [f"{row.name}: {row.detail or format(row.value, 'g')}" for row in rows]

    def draw(plot: int) -> dict[str, Any]:
        at_x = xs.horizontal(plot)
        labels = [wrap(text, plot + padding.right) for text in texts]
        marks = list(accumulate(_ROW + LINE_HEIGHT * text.count("\n") for text in labels))
        layers: _Layers = []
        if reference is not None:
            at = plot * xs.share(reference.value)
            half = text_width(reference.name) / 2
            middle = min(max(at, half), plot - half)
            layers = [
                dashed([{"x": reference.value}], reference.color, x=at_x, **part)
                for part in _gaps(at, labels, marks)
            ]
            layers.append(label(reference.name, reference.color, middle, -12, "center"))
        for row, text, bottom in zip(rows, labels, marks, strict=True):
            layers += _interval(row, text, at_x, bottom)
        return {"height": marks[-1], "layer": layers}

    return Chart(summary, draw, padding, width)


def scatter(
    points: Sequence[Point],
    *,
    x: str,
    y: str,
    summary: str,
    references: Sequence[Reference] = (),
    log_x: bool = True,
    width: int = HALF,
) -> Chart:
    """Draws points with intervals, each with its name beside it.

    Args:
        points: The points; x must be positive on a logarithmic axis.
        x: Title of the x axis, with its unit.
        y: Title of the y axis, with its unit.
        summary: See `Chart`.
        references: Horizontal dashed lines.
        log_x: Whether the x axis is logarithmic.
        width: Width of the wide drawing.
    """
    values = [v for p in points for v in (p.x, *(p.x_range or ()))]
    xs = Axis.around(x, values, log=log_x, margin=0.18)  # room for labels
    values = [v for p in points for v in (p.y, *(p.y_range or ()))]
    ys = Axis.around(y, [*values, *(reference.value for reference in references)])
    padding = Padding(right=20)
    named = [point for point in points if point.name]
    unnamed = [point for point in points if not point.name]

    def draw(plot: int) -> dict[str, Any]:
        at_x, at_y = xs.horizontal(plot), ys.vertical(padding.left)
        layers: _Layers = []
        for reference in references:
            height = _HEIGHT * (1 - ys.share(reference.value)) - 9
            layers += [
                _level(reference, at_y),
                label(reference.name, reference.color, plot, height, "right"),
            ]
        for point in points:
            layers += _point(point, at_x, at_y)

        def place_of(p: Point) -> tuple[float, float]:
            return plot * xs.share(p.x), _HEIGHT * (1 - ys.share(p.y))

        at = [place_of(point) for point in named]
        bars = [
            Box(x - 2, _HEIGHT * (1 - ys.share(high)), x + 2, _HEIGHT * (1 - ys.share(low)))
            for (x, _), (low, high) in zip(
                at, (p.y_range or (p.y, p.y) for p in named), strict=True
            )
        ]
        spots = place(at, [p.name for p in named], plot, _HEIGHT, bars, [*map(place_of, unnamed)])
        for point, spot in zip(named, spots, strict=True):
            layers.append(label(point.name, point.color, spot.x, spot.y, spot.align))
        return {"height": _HEIGHT, "layer": layers}

    return Chart(summary, draw, padding, width)


def _curve(one: Series, x: str, at_x: dict[str, Any], at_y: dict[str, Any]) -> _Layers:
    color = constant(one.color)
    name, nothing = (one.title or one.name).replace("\n", " "), [None] * len(one.y)
    rows: list[dict[str, Any]] = []
    for at, value, low, high in zip(
        one.x, one.y, one.low or nothing, one.high or nothing, strict=True
    ):
        text = f"{name}, {x} {at:g}: {value:.1f}"
        if low is not None and high is not None:
            text += f" ({low:.1f} to {high:.1f})"
        rows.append({"x": at, "y": value, "low": low, "high": high, "text": text})
    line = {"strokeWidth": 2.2} if one.name else {"strokeWidth": 1.2, "opacity": 0.5}
    few = len(rows) <= _MARKED and one.name
    marks = {"size": 28, "opacity": 1} if few else {"size": 60, "opacity": 0}
    band = [row for row in rows if row["low"] is not None and row["high"] is not None]
    top = {**at_y, "field": "high"}
    return [
        layer("area", band, x=at_x, y=top, y2={"field": "low"}, color=color, opacity=0.16),
        layer("line", rows, x=at_x, y=at_y, color=color, **line),
        layer("circle", rows, x=at_x, y=at_y, color=color, description=TIP, **marks),
    ]


def _gaps(at: float, labels: Sequence[str], marks: Sequence[int]) -> list[dict[str, Any]]:
    """Returns the parts of a vertical line that do not cross a label, as channels y and y2.

    Args:
        at: The position of the line.
        labels: The label of each row, which begins at the left edge.
        marks: The lower end of each row.
    """
    parts, begin, top = [], 0.0, 0.0
    for text, bottom in zip(labels, marks, strict=True):
        if at < text_width(text) * BOLD + 4:
            parts.append((begin, top + 2))
            begin = bottom - _ROW + LINE_HEIGHT + 6
        top = bottom
    parts.append((begin, top))
    return [{"y": constant(low), "y2": constant(high)} for low, high in parts if high - low > 4]


def _interval(row: Row, text: str, at_x: dict[str, Any], bottom: float) -> _Layers:
    look = {"x": at_x, "y": constant(bottom - _ROW + 31), "description": TIP}
    color = constant(row.color)
    if row.link:
        look["href"] = constant(row.link)
    middle = bottom - _ROW + 12 - LINE_HEIGHT * text.count("\n") / 2
    layers = [label(text, INK, 0, middle)]
    text = text.replace("\n", " ")
    if row.low is not None and row.high is not None:
        ends = [{"x": row.low, "x2": row.high, "text": text}]
        look_2 = {**look, "x2": {"field": "x2"}}
        layers.append(layer("rule", ends, color=color, strokeWidth=3, **look_2))
    dots = [{"x": dot, "text": f"{row.name}: {dot:.1f}"} for dot in row.dots]
    layers.append(layer("circle", dots, color=color, size=36, opacity=0.45, **look))
    layers.append(mark([{"x": row.value, "text": text}], row.color, "diamond", look))
    return layers


def _point(point: Point, at_x: dict[str, Any], at_y: dict[str, Any]) -> _Layers:
    spot = {"x": point.x, "y": point.y, "text": point.detail or point.name}
    look = {"x": at_x, "y": at_y}
    bar = {"color": constant(point.color), "strokeWidth": 1.5, "opacity": 0.6}
    layers: _Layers = []
    if point.y_range is not None:
        ends = [{**spot, "y": point.y_range[0], "y2": point.y_range[1]}]
        layers.append(layer("rule", ends, y2={"field": "y2"}, **look, **bar))
    if point.x_range is not None:
        ends = [{**spot, "x": point.x_range[0], "x2": point.x_range[1]}]
        layers.append(layer("rule", ends, x2={"field": "x2"}, **look, **bar))
    layers.append(mark([spot], point.color, point.shape, {**look, "description": TIP}))
    return layers


def _level(reference: Reference, at_y: dict[str, Any]) -> dict[str, Any]:
    return dashed([{"y": reference.value}], reference.color, y=at_y)
