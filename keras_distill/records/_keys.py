"""Lists the keys of a recipe with their types, defaults, and meanings, read from its models."""

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from keras_distill.records._base import Record
from keras_distill.records._recipe import Recipe
from keras_distill.records._training_settings import ClassifierSettings, TrainingChanges

_OF_TRAINING = set(ClassifierSettings.model_fields)
_ENTRY = re.compile(r" {4}(\w+): (.*)")
_WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "any",
}


@dataclass(frozen=True)
class Key:
    """One key of a recipe.

    Attributes:
        name: The dotted name.
        kind: Description of the type of the value.
        default: The default as TOML; None if the key is not set by default.
        required: Whether the key is required.
        example: A value as TOML: an example, or the default; None if there is neither.
        meaning: The description of the key, in one line.
        table: For a table, its header, `[name]` or `[[name]]`; None for a value.
        of_training: Whether the key is in another table and overrides a key of `training`.
    """

    name: str
    kind: str
    default: str | None
    required: bool
    example: str | None
    meaning: str
    table: str | None
    of_training: bool


def recipe_keys(record: type[Record] = Recipe, prefix: str = "") -> Iterator[Key]:
    """Yields the keys of a recipe; the keys of a table follow the table itself.

    Args:
        record: The model of the recipe or of a table.
        prefix: The dotted name of the table, with a dot at the end.

    Example:
        >>> next(key for key in recipe_keys() if key.name == "distillation.alpha").default
        '0.9'
    """
    meanings = attribute_docs(record)
    for name, field in record.model_fields.items():
        inner = _records(field.annotation)
        table = bool(inner) and not _has_plain(field.annotation)
        header = (
            f"[[{prefix}{name}]]" if get_origin(field.annotation) is tuple else f"[{prefix}{name}]"
        )
        default = _default(field)
        yield Key(
            name=f"{prefix}{name}",
            kind=_kind(field.annotation),
            default=default,
            required=field.is_required(),
            example=_toml(field.examples[0]) if field.examples else default,
            meaning=meanings.get(name, ""),
            table=header if table else None,
            of_training=issubclass(record, TrainingChanges) and name in _OF_TRAINING,
        )
        if table:
            yield from recipe_keys(inner[0], f"{prefix}{name}.")


def attribute_docs(record: type) -> dict[str, str]:
    """Returns the descriptions of attributes in the docstrings of a class and its base classes.

    Args:
        record: A class with docstrings in Google style.

    Example:
        >>> class Point:
        ...     '''A point.
        ...
        ...     Attributes:
        ...         x: To the
        ...             right.
        ...     '''
        >>> attribute_docs(Point)
        {'x': 'To the right.'}
    """
    found: dict[str, str] = {}
    for base in reversed(record.__mro__):
        if base.__module__.startswith("pydantic") or base is object:
            continue
        _, mark, section = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        name = ""
        for line in section.splitlines() if mark else ():
            entry = _ENTRY.fullmatch(line)
            if entry:
                name = entry[1]
                found[name] = entry[2].strip()
            elif name and line.startswith(" " * 8):
                found[name] += f" {line.strip()}"
            elif line.strip():
                break
    return found


def _records(annotation: Any) -> list[type[Record]]:
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return [annotation]
    return [found for part in get_args(annotation) for found in _records(part)]


def _has_plain(annotation: Any) -> bool:
    """Returns whether a value may be something other than a table, a list of tables, or None."""
    if get_origin(annotation) in (Union, UnionType):
        return any(_has_plain(part) for part in get_args(annotation) if part is not NoneType)
    return get_origin(annotation) is dict or not _records(annotation)


def _kind(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is Annotated:
        return _kind(parts[0])
    if origin is Literal:
        return " or ".join(json.dumps(value) for value in parts)
    if origin is tuple:
        return f"list of {_kind(parts[0])}" if not _records(parts[0]) else "list of tables"
    if origin in (Union, UnionType):
        kinds = [_kind(part) for part in parts if part is not NoneType]
        return " or ".join(dict.fromkeys(kinds))
    if origin is dict or _records(annotation):
        return "table"
    return "any"


def _default(field: FieldInfo) -> str | None:
    value = field.get_default(call_default_factory=True)
    if field.is_required() or value is None or isinstance(value, Record):
        return None
    return _toml(value)


def _toml(value: Any) -> str:
    """Formats a value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
