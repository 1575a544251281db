"""Prints results: JSON, tables, facts, and lines.

rich and pydantic are imported when something is printed, so that the start stays light.
"""

import json
import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_distill._internal import _verbosity
from keras_distill._internal._verbosity import Verbosity

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

_WORD = 24  # characters; longer words may be folded


def _console() -> "Console":
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def print_json(value: "BaseModel | Mapping[str, Any]") -> None:
    """Prints a record, or a dict of plain values, as indented JSON."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        print(value.model_dump_json(indent=2))
    else:
        print(json.dumps(value, indent=2))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    caption: str | None = None,
    text_columns: Collection[str] | None = None,
) -> None:
    """Prints a table.

    Args:
        columns: The titles of the columns.
        rows: The cells of each row.
        title: A line above the table.
        caption: A line below the table.
        text_columns: The columns that are aligned left and wrapped. All others hold numbers, are
            aligned right, and are never cut: a table may be wider than the terminal. By default
            only the first column is text.
    """
    from rich.table import Table

    text = columns[:1] if text_columns is None else text_columns
    rows = list(rows)
    table = Table(
        title=title,
        caption=caption,
        box=None,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
    )
    for number, column in enumerate(columns):
        cells = [row[number] for row in rows]
        words = [word for cell in (column, *cells) for word in cell.split()]
        if column in text:
            width = min(_WORD, max(map(len, words), default=0))
            table.add_column(column, overflow="fold", min_width=width)
        else:
            width = max(map(len, (*cells, *column.split())), default=0)
            table.add_column(column, justify="right", min_width=width)
    for row in rows:
        table.add_row(*row)
    console = _console()
    if sum(2 + (column.min_width or 0) for column in table.columns) > console.width:
        table.collapse_padding, table.pad_edge = True, False
    console.print(table, crop=False)


def print_facts(facts: Iterable[Sequence[str]]) -> None:
    """Prints rows of a name and its values, without a header."""
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for row in facts:
        table.add_row(*row)
    _console().print(table)


def print_line(text: str, style: str | None = None) -> None:
    """Prints one line without wrapping it. `style` is a rich style such as "red" or "dim"."""
    _console().print(text, style=style, soft_wrap=True)


def print_next(*words: "str | os.PathLike[str]") -> None:
    """Prints the command that usually follows, quoted so that a shell takes it as it is."""
    if _verbosity.current() is not Verbosity.QUIET:
        print_line(f"Next: {shlex.join(map(str, words))}")
