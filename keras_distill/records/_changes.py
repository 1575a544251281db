"""Changes nested settings by dotted keys, such as `distillation.temperature`."""

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

from keras_distill._internal import InputError, bad
from keras_distill.records._base import parse_toml

_KEY = re.compile(r"[A-Za-z_]\w*(\.\w+)*")
_MAX_STEPS = 20  # names in a dotted key; no record is nested so deeply


def changed(values: Mapping[str, Any], changes: Mapping[str, Any], *, source: str) -> Any:
    """Returns nested values with some of them replaced; `values` itself is not changed.

    Args:
        values: Tables, as in a TOML file.
        changes: New values by dotted key. An integer in a key is the index of a list item, from 0,
            as in `distillation.losses.0.weight`. None removes a key, so that its default applies.
        source: The origin of the values, for errors.

    Raises:
        InputError: If a key is not valid, a part of it is neither a table nor a list, or a list
            has no such item.

    Example:
        >>> changed({"a": {"b": 1, "c": 2}}, {"a.b": 5, "a.c": None, "d.e": 0}, source="example")
        {'a': {'b': 5}, 'd': {'e': 0}}
    """
    result = copy.deepcopy(dict(values))
    for key, value in changes.items():
        *path, last = _steps(key)
        table: Any = result
        for i, step in enumerate(path):
            table = _inside(table, step, ".".join(path[: i + 1]), source)
        if isinstance(table, list):
            table[_place(table, last, key, source)] = value
        elif value is None:
            table.pop(last, None)
        else:
            table[last] = value
    return result


def parse_setting(text: str) -> tuple[str, Any]:
    """Splits `KEY=VALUE` into the dotted key and the value.

    The value is parsed as TOML (`2`, `0.5`, `true`, `[1, 2]`, `{a = 1}`). Any other text is a
    string and needs no quotes. An empty value is None, which means the default.

    Raises:
        InputError: If the key is missing or not valid, or there is no equals sign.

    Example:
        >>> parse_setting("distillation.temperature=2"), parse_setting("student.model=mlp:16")
        (('distillation.temperature', 2), ('student.model', 'mlp:16'))
    """
    key, mark, value = text.partition("=")
    if not mark or not _KEY.fullmatch(key.strip()):
        raise bad("set", "be KEY=VALUE, such as distillation.temperature=2", text)
    return key.strip(), parse_value(value.strip())


def written_value(value: Any) -> str:
    """Returns the text from which `parse_value` reads the given JSON value.

    Example:
        >>> written_value([{"loss": "DISTLoss", "weight": 0.5}]), written_value("mlp:16")
        ('[{loss = "DISTLoss", weight = 0.5}]', 'mlp:16')
        >>> written_value("2"), written_value(True)
        ('"2"', 'true')
    """
    if isinstance(value, str) and parse_value(value) == value:
        return value
    return _toml(value)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = (f"{_toml_key(key)} = {_toml(part)}" for key, part in value.items())
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key)


def parse_value(text: str) -> Any:
    """Parses a value on the command line, as described in `parse_setting`.

    Example:
        >>> parse_value("[1, 2]"), parse_value("mlp:16"), parse_value("")
        ([1, 2], 'mlp:16', None)
    """
    if not text:
        return None
    try:
        found = parse_toml(f"value = {text}")
    except ValueError:
        return text
    value = found.get("value")
    # No record has a date, and a text of several lines may contain other keys: both are strings.
    plain = isinstance(value, bool | int | float | str | list | dict)
    return value if plain and len(found) == 1 else text


def _steps(key: str) -> list[str]:
    steps = key.split(".")
    if not all(steps) or len(steps) > _MAX_STEPS:
        raise bad("key", "be names of settings, separated by dots", key)
    return steps


def _inside(table: Any, step: str, name: str, source: str) -> Any:
    """Returns the table or list at `step` of `table`; creates a table if there is none."""
    if isinstance(table, list):
        found = table[_place(table, step, name, source)]
    else:
        found = table.setdefault(step, {})
    if not isinstance(found, dict | list):
        raise _no_table(name, found, source)
    return found


def _place(items: list[Any], step: str, name: str, source: str) -> int:
    if not step.isdigit():
        raise _no_table(name.rpartition(".")[0], items, source)
    if len(step) > 6 or int(step) >= len(items):
        raise InputError(
            f"{source}: `{name}` must name one of the {len(items)} items of a list, counted from 0."
        )
    return int(step)


def _no_table(name: str, found: Any, source: str) -> InputError:
    return InputError(f"{source}: `{name}` must be a table, [{name}]. Received: {found!r:.80}")
