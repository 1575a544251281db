"""A heat map of two settings, whose cells are links."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras_distill.report._charts import WIDE, Chart, Padding, layer
from keras_distill.report._colors import INK, SERIES
from keras_distill.report._labels import text_width
from keras_distill.report._marks import TIP, constant

_ROW = 44  # pixels
_WIDEST = 120  # pixels of a column
_FAINTEST, _FULLEST = 0.06, 0.72


@dataclass(frozen=True)
class GridCell:
    """A cell of `heat_map`.

    Attributes:
        x: Its column.
        y: Its row.
        value: The value that its color shows.
        label: Its text.
        detail: Its tooltip.
        link: Target of a click, such as "#section".
        edge: Width of its frame; 0 for no frame.
    """

    x: str
    y: str
    value: float
    label: str
    detail: str
    link: str
    edge: float = 0.0


def heat_map(
    cells: Sequence[GridCell],
    *,
    x: str,
    y: str,
    columns: Sequence[str],
    rows: Sequence[str],
    summary: str,
) -> Chart:
    """Draws a cell for each pair of values. The higher the value, the more saturated the color.

    Args:
        cells: The cells; pairs without a cell stay empty.
        x: Title of the columns.
        y: Title of the rows.
        columns: The columns from left to right.
        rows: The rows from top to bottom.
        summary: See `Chart`.
    """
    left = round(14 + max(map(text_width, [*rows, y])))
    padding = Padding(left=left, right=8, top=30, bottom=48)
    values = [cell.value for cell in cells]
    low, high = min(values), max(values)

    def opacity(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 1.0
        return _FAINTEST + (_FULLEST - _FAINTEST) * share

    def draw(plot: int) -> dict[str, Any]:
        axis: dict[str, Any] = {"grid": False, "domain": False, "ticks": False, "labelPadding": 6}
        at_x = {
            "field": "x", "type": "nominal", "sort": None, "scale": {"domain": [*columns]},
            "axis": {**axis, "title": x, "labelAngle": 0, "labelOverlap": False},
        }  # fmt: skip
        at_y = {
            "field": "y", "type": "nominal", "sort": None, "scale": {"domain": [*rows]},
            "axis": {**axis, "title": y, "titleX": 6 - left},
        }  # fmt: skip
        found = [
            {
                "x": cell.x, "y": cell.y, "text": cell.detail, "label": cell.label,
                "link": cell.link, "opacity": opacity(cell.value), "edge": cell.edge,
            }
            for cell in cells
        ]  # fmt: skip
        look = {"x": at_x, "y": at_y, "description": TIP, "href": {"field": "link"}}
        fill = {"field": "opacity", "type": "quantitative", "scale": None}
        edge = {"field": "edge", "type": "quantitative", "scale": None}
        framed = [cell for cell in found if cell["edge"]]
        # In narrow columns, a label of 60 pixels would overlap the next label.
        narrow = plot / len(columns) < text_width(max((c.label for c in cells), key=len)) + 6
        size = {"fontSize": 10} if narrow else {}
        layers = [
            layer(
                "rect", found, color=constant(SERIES[0]), fillOpacity=fill, cornerRadius=3,
                **look,
            ),
            layer(
                "rect", framed, fill=constant("transparent"), stroke=constant(INK),
                strokeWidth=edge, cornerRadius=3, **look,
            ),
            layer(
                "text", found, x=at_x, y=at_y, text={"field": "label"}, color=constant(INK),
                **size,
            ),
        ]  # fmt: skip
        return {"height": _ROW * len(rows), "layer": layers}

    width = min(WIDE, left + 8 + _WIDEST * len(columns))
    return Chart(summary, draw, padding, max(width, 320))
