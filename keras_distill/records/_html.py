"""Shows a record in a notebook: plain values in a table, nested records collapsed below it."""

import html
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

_LONGEST = 200  # characters of a text
_MOST = 50  # items of a list


def as_html(record: BaseModel, summary: Iterable[tuple[str, str]] = ()) -> str:
    """Formats a record as HTML without styles of its own, so that it follows the notebook's theme.

    Args:
        record: The record.
        summary: Names and values to show first.
    """
    name = html.escape(type(record).__name__)
    rows = "".join(_row(html.escape(key), html.escape(value)) for key, value in summary)
    table = f"<table>{rows}</table>" if rows else ""
    folded = _folded("all values", _value(record)) if rows else _value(record)
    return f"<div><strong>{name}</strong>{table}{folded}</div>"


def _value(value: Any) -> str:
    if isinstance(value, BaseModel):
        return _fields({key: getattr(value, key) for key in type(value).model_fields})
    if isinstance(value, Mapping):
        return _fields(value)
    if isinstance(value, list | tuple):
        return _items(value)
    text = "" if value is None else str(value)
    return html.escape(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def _fields(values: Mapping[Any, Any]) -> str:
    rows, parts = "", ""
    for key, value in values.items():
        name = html.escape(str(key))
        if _is_part(value):
            parts += _folded(name, _value(value))
        else:
            rows += _row(name, _value(value))
    return (f"<table>{rows}</table>" if rows else "") + parts


def _items(values: list[Any] | tuple[Any, ...]) -> str:
    shown = values[:_MOST]
    more = f"and {len(values) - _MOST} more" if len(values) > _MOST else ""
    if any(map(_is_part, shown)):
        return "".join(_folded(str(n), _value(value)) for n, value in enumerate(shown)) + more
    return ", ".join([*map(_value, shown), *([more] if more else [])])


def _is_part(value: Any) -> bool:
    """Returns whether a value is collapsed: a record, a non-empty dict, or a list of these."""
    if isinstance(value, BaseModel) or (isinstance(value, Mapping) and value):
        return True
    return isinstance(value, list | tuple) and any(map(_is_part, value))


def _row(name: str, value: str) -> str:
    left = 'style="text-align: left"'
    return f"<tr><th {left}>{name}</th><td {left}>{value}</td></tr>"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>{content}</details>"
