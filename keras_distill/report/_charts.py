"""Draws charts as inline SVG: Vega-Lite specifications, rendered in Python.

A chart needs no script and no other file, so it works offline, can be printed, and is shown without
JavaScript. Its colors are CSS variables, so it follows a dark `prefers-color-scheme`. Each chart is
drawn at two widths. CSS shows the one that fits its container; both have the same text size.

`_plots.py` creates the charts that pages have in common. For another kind of chart, write a
function that returns a `Chart`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

from keras_distill._internal import InputError
from keras_distill.report._colors import INK, LIGHT, LINE, SOFT
from keras_distill.report._engine import DrawingError, draw, one_engine

WIDE, HALF, NARROW = 960, 480, 320  # pixels; the narrow one fits a screen of 390
FONT_SIZE = 13
_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_VARIABLE = re.compile(r"var\((--[a-z0-9-]+)\)")

_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "Helvetica, Arial, sans-serif",  # to measure text; CSS sets the font of the page
    "view": {"stroke": None},
    "axis": {
        "domainColor": LINE,
        "gridColor": LINE,
        "tickColor": LINE,
        "labelColor": SOFT,
        "titleColor": SOFT,
        "labelFontSize": FONT_SIZE,
        "titleFontSize": FONT_SIZE,
        "titleFontWeight": "normal",
        "labelOverlap": True,
    },
    # The title is above the axis: it is horizontal, so it is easy to read and saves width.
    "axisY": {
        "domain": False,
        "ticks": False,
        "titleAngle": 0,
        "titleAlign": "left",
        "titleAnchor": "end",
        "titleBaseline": "bottom",
        "titleY": -10,
    },
    "text": {"fontSize": FONT_SIZE, "color": INK},
}


@dataclass(frozen=True)
class Padding:
    """Pixels around the plot, for the axes and for labels outside of the plot."""

    left: int = 44
    right: int = 16
    top: int = 30
    bottom: int = 44


@dataclass(frozen=True)
class Chart:
    """A chart that is not yet drawn.

    Attributes:
        summary: One sentence that describes the chart, for people who cannot see it.
        draw: `draw(width)` returns the Vega-Lite specification for a plot with this width in
            pixels, without padding: `layer`, `height`, and other keys if needed. The channel
            `description` of a mark becomes its tooltip.
        padding: Space around the plot.
        width: Width of the wide drawing, including padding.
    """

    summary: str
    draw: Callable[[int], Mapping[str, Any]]
    padding: Padding = Padding()
    width: int = WIDE


def to_html(chart: Chart) -> Markup:
    """Draws a chart as a `<div>` with one `<svg>` for wide and one for narrow screens.

    A chart that cannot be drawn is replaced by its summary and the reason.
    """
    try:
        with one_engine():
            drawings = _drawings(chart)
    except DrawingError as error:
        drawings = Markup("<p>{} (There is no drawing: {}.)</p>").format(chart.summary, error)
    return Markup('<div class="chart">{}</div>').format(drawings)


def _drawings(chart: Chart) -> Markup:
    drawings = Markup("")
    widths = {"wide": chart.width, "narrow": NARROW}
    for name, width in ({"only": chart.width} if chart.width <= 340 else widths).items():
        root = _tree(chart, width)
        root.set("class", name)
        root.set("style", f"max-width: {width}px")
        for size in ("width", "height"):  # CSS scales it
            root.attrib.pop(size, None)
        drawings += Markup(ElementTree.tostring(root, encoding="unicode"))
    return drawings


def picture(charts: Sequence[Chart], kind: str) -> bytes:
    """Draws charts side by side as an image file, with the colors of a light page.

    Args:
        charts: The charts.
        kind: "png", "svg", or "pdf".

    Raises:
        InputError: If the drawing engine fails.
    """
    plots = [chart.width - chart.padding.left - chart.padding.right for chart in charts]
    drawn = [{"width": p, **chart.draw(p)} for chart, p in zip(charts, plots, strict=True)]
    spec = {"config": {**_CONFIG, "background": LIGHT["--paper"]}, "padding": 16, "hconcat": drawn}
    text = _VARIABLE.sub(lambda found: LIGHT[found[1]], json.dumps(spec))
    try:
        return draw(json.loads(text), kind)
    except DrawingError as error:
        raise InputError(
            f"The picture cannot be drawn: {error}. The engine reserves 64 GiB of addresses: try it"
            " without a limit of the address space (`ulimit -v unlimited`)."
        ) from error


def _tree(chart: Chart, width: int) -> ElementTree.Element:
    plot = width - chart.padding.left - chart.padding.right
    spec = {
        "config": _CONFIG,
        "autosize": "none",
        "padding": vars(chart.padding),
        "width": plot,
        **chart.draw(plot),
    }
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(draw(spec, "svg"))
    for element in root.iter():
        _clean(element)
    root.set("role", "img")
    root.set("aria-label", chart.summary)
    return root


def _clean(element: ElementTree.Element) -> None:
    """Turns the label of a mark into its tooltip, and removes attributes that a page does not need.

    For assistive technology, each chart is a single picture with a summary. Vega would describe
    each axis, group, and point of the chart.
    """
    attributes = element.attrib
    if element.tag == f"{{{_SVG}}}a":
        # Vega interprets a link to a part of the page as a link to its own examples.
        attributes["href"] = f"#{attributes.pop(_HREF).partition('#')[2]}"
    label, role = attributes.pop("aria-label", None), attributes.pop("role", None)
    kind = attributes.pop("aria-roledescription", None)
    for name in ("aria-hidden", "class", "font-family"):
        attributes.pop(name, None)
    if label and role == "graphics-symbol" and kind not in ("axis", "legend", "title"):
        tooltip = ElementTree.Element(f"{{{_SVG}}}title")
        tooltip.text = label
        element.insert(0, tooltip)


def layer(mark: str, rows: Iterable[Mapping[str, Any]], /, **settings: Any) -> dict[str, Any]:
    """Creates a layer of a specification.

    Args:
        mark: Kind of mark: "line", "point", "rule", "area", "text", "bar".
        rows: The data of the layer.
        **settings: Channels of the encoding, as dicts (`x={"field": "x", …}`); any other argument
            is a property of the mark.
    """
    encoding = {name: value for name, value in settings.items() if isinstance(value, Mapping)}
    properties = {name: value for name, value in settings.items() if name not in encoding}
    return {
        "data": {"values": [dict(row) for row in rows]},
        # Without `aria`, Vega-Lite does not add its own description, such as "x: 12; x2: 26.538".
        "mark": {"type": mark, "aria": "description" in encoding, **properties},
        "encoding": encoding,
    }
