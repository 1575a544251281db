"""Cells and columns of the tables of pages."""

from typing import NamedTuple

from keras_distill.records import Verdict


class Cell(NamedTuple):
    """A cell with more than its text.

    Attributes:
        text: What it shows.
        value: The number by which its column is sorted; None: read from the text.
        hint: Shown when the pointer is over it.
        badge: Kind of the badge that it is: "good", "bad", "warn"; empty: none.
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
        label: What it shows, for a screen reader.
        columns: Titles.
        rows: Cells; a plain text is one too.
        terms: Explanations by title.
        highlighted: Numbers of the rows to stress.
    """

    label: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell | str, ...]]
    terms: dict[str, str]
    highlighted: tuple[int, ...] = ()
