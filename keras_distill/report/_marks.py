"""The marks that all charts share, so that all charts look alike."""

from collections.abc import Iterable, Mapping
from typing import Any

from keras_distill.report._charts import layer
from keras_distill.report._colors import PAPER
from keras_distill.report._labels import LINE_HEIGHT

TIP = {"field": "text"}
"""The channel `description` of a mark whose rows have their tooltip in "text"."""


def constant(value: Any) -> dict[str, Any]:
    """Returns a channel with one value for all rows."""
    return {"value": value}


def mark(
    rows: Iterable[Mapping[str, Any]],
    color: str,
    shape: str,
    look: Mapping[str, Any],
    *,
    scale: float = 1.0,
) -> dict[str, Any]:
    """Creates a layer of filled marks, with an edge that separates overlapping marks.

    Args:
        rows: The data of the marks.
        color: A color of `_colors`.
        shape: "circle", "square", "diamond", or "triangle-up".
        look: Channels, as for `layer`.
        scale: Scale factor of their area.
    """
    edge = {"stroke": constant(PAPER), "strokeWidth": 1.5, "opacity": 1}
    size = scale * (150 if shape in ("diamond", "triangle-up") else 110)  # look equally large
    return layer("point", rows, fill=constant(color), shape=shape, size=size, **edge, **look)


def dashed(
    rows: Iterable[Mapping[str, Any]], color: str, kind: str = "rule", **look: Any
) -> dict[str, Any]:
    """Creates a layer of a dashed line."""
    return layer(kind, rows, color=constant(color), strokeDash=[5, 4], strokeWidth=1.5, **look)


def label(
    words: str, color: str, x: float, y: float, align: str = "left", weight: int = 600
) -> dict[str, Any]:
    """Creates a layer with a text at a pixel position of the plot; y is its vertical center."""
    lines = words.split("\n")
    return layer(
        "text",
        [{}],
        x=constant(x),
        y=constant(y - LINE_HEIGHT * (len(lines) - 1) / 2),
        text=constant(lines if len(lines) > 1 else words),
        color=constant(color),
        align=align,
        baseline="middle",
        lineHeight=LINE_HEIGHT,
        fontWeight=weight,
    )
