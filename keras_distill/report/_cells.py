"""Cells and columns of the tables of pages."""

from typing import NamedTuple

from keras_distill.records import Verdict


class Cell(NamedTuple):
    """A cell with a sort value, a hint, or a badge in addition to its text.

    Attributes:
        text: The displayed text.
        value: The number by which its column is sorted. If None, it is read from the text.
        hint: Text that is shown when the pointer is over the cell.
        badge: Kind of badge: "good", "bad", or "warn"; empty for no badge.
    """

    text: str
    value: float | None = None
    hint: str = ""
    badge: str = ""


EMPTY = Cell("")
VERDICTS: dict[Verdict, Cell] = {
    "passed": Cell("verified", badge="good"),
    "failed": Cell("failed", badge="bad"),
    "not verified on data": Cell("not verified on data", badge="warn"),
}
"""The badge of a verdict on a file."""


class Table(NamedTuple):
    """A table of a page.

    Attributes:
        label: A description of the table, for screen readers.
        columns: Titles.
        rows: Cells; a plain text is also a cell.
        terms: Explanations by title.
        highlighted: Numbers of the rows to highlight.
    """

    label: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell | str, ...]]
    terms: dict[str, str]
    highlighted: tuple[int, ...] = ()
