"""The base classes of all records on disk: JSON for results, TOML for files that people write."""

import hashlib
import json
import math
import numbers
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args, get_origin

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import Self

from keras_distill._internal import InputError, _files, did_you_mean
from keras_distill._internal._checks import shallow, shown
from keras_distill._internal._types import PathLike
from keras_distill.records._html import as_html

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, numbers.Real) and not math.isfinite(value) else value


Measured = Annotated[float | None, BeforeValidator(_finite_or_none)]
"""A number that was measured; None if it is NaN or infinite, such as the loss of a training that
diverged: JSON has no other spelling for it."""


class Record(BaseModel):
    """A validated JSON file: unknown keys are rejected, and writing is atomic.

    Every number is finite, or its field is `Measured`. Every record that can be created can
    therefore be loaded again.

    Example:
        >>> class Note(Record):
        ...     text: str
        >>> Note(text="a").model_dump()
        {'text': 'a'}
        >>> Note.parse({"text": 1}, source="note")
        Traceback (most recent call last):
        keras_distill.InputError: note: `text` must be a valid string. Received: 1
        >>> Note.parse({"text": "a", "texts": "b"}, source="note")
        Traceback (most recent call last):
        keras_distill.InputError: note: `texts` must be a known key. Did you mean `text`?
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    indent: ClassVar[int | None] = 2
    """Indentation of the file; None for records of many numbers."""

    @classmethod
    def parse(cls, value: Any, *, source: str) -> Self:
        """Validates a dict or JSON text, and returns the record.

        Args:
            value: The dict or the text.
            source: The origin of the value, for errors. Errors name the source, key, and rule.

        Raises:
            InputError: If the value is not valid, or its parts contradict each other.
        """
        try:
            if isinstance(value, str | bytes):
                value = json.loads(value)
            value = shallow(value)
            # Validated as JSON: `true` is not a number, "1" is not an integer, but a list may be a
            # tuple.
            record = cls.model_validate_json(json.dumps(value), strict=True)
            _check_finite(value)
            record.check()
            return record
        except ValidationError as error:
            raise InputError(f"{source}: {_describe(cls, error)}") from error
        except InputError as error:
            raise InputError(f"{source}: {error}") from error
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{source}: not a record in JSON ({error!s:.200}).") from error

    def check(self) -> None:
        """Checks that the values are consistent with each other; called by `parse`.

        Raises:
            InputError: If the values contradict each other.
        """

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Reads a record that `save` wrote.

        Raises:
            InputError: If the file cannot be read, is not JSON, or is not a valid record.
        """
        return cls.parse(_files.read_text(path), source=str(path))

    def summary_rows(self) -> list[tuple[str, str]]:
        """Returns names and values that a notebook shows above the full record; by default none."""
        return []

    def _repr_html_(self) -> str:
        return as_html(self, self.summary_rows())

    def save(self, path: PathLike, *, overwrite: bool = False) -> Path:
        """Writes the record as JSON, atomically; returns the path."""
        text = self.model_dump_json(indent=self.indent)
        return _files.write_text(path, text + "\n", overwrite=overwrite)


class SealedRecord(Record):
    """A record with a checksum of its own content, so that an edited record is rejected.

    Attributes:
        seal: SHA-256 of the other values; set by `save`.
    """

    seal: str | None = None

    def sealed(self) -> Self:
        """Returns the record with its checksum."""
        return self.model_copy(update={"seal": _seal(json.loads(self.model_dump_json()))})

    @classmethod
    def parse(cls, value: Any, *, source: str) -> Self:
        """Validates a dict or JSON text as `Record.parse` does, and verifies the checksum.

        Raises:
            InputError: If the value is not valid, has no checksum, or was changed after it was
                saved.
        """
        found = super().parse(value, source=source)
        if found.seal is None:
            raise InputError(
                f"{source}: has no checksum (`seal`), which every complete file has. Restore the"
                " file, or make the folder again."
            )
        # The checksum covers the values in the file, not the defaults, which may differ between
        # versions.
        if found.seal != _seal(json.loads(value) if isinstance(value, str | bytes) else value):
            raise InputError(
                f"{source}: was changed after it was written: its checksum (`seal`) does not match"
                " its content. Restore the file, or make the folder again."
            )
        return found

    def save(self, path: PathLike, *, overwrite: bool = False) -> Path:
        """Writes the record with its checksum as JSON, atomically; returns the path."""
        return super(SealedRecord, self.sealed()).save(path, overwrite=overwrite)


def _seal(values: dict[str, Any]) -> str:
    text = json.dumps({k: v for k, v in values.items() if k != "seal"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class TomlRecord(Record):
    """A record whose file is TOML."""

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Reads a record from a TOML file.

        Raises:
            InputError: If the file cannot be read, is not TOML, or a key is unknown or wrong.
        """
        return cls.parse(read_toml(path), source=str(path))

    def save(self, path: PathLike, *, overwrite: bool = False) -> Path:
        """Writes the record as TOML, atomically; returns the path."""
        text = tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
        return _files.write_text(path, text, overwrite=overwrite)


def read_toml(path: PathLike) -> dict[str, Any]:
    """Reads the values of a TOML file.

    Raises:
        InputError: If the file cannot be read or is not TOML.
    """
    text = _files.read_text(path, max_bytes=_MAX_TOML)
    try:
        return parse_toml(text)
    except ValueError as error:
        raise InputError(f"{path} is not TOML: {error!s:.200}.") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Parses a text as TOML.

    Raises:
        ValueError: If the text is not TOML.
    """
    try:
        return shallow(tomllib.loads(text))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


_SHOWN = 3  # the most errors in one message
_MAX_TOML = 4 << 20  # bytes

# Phrases of pydantic -> phrases of this project, which follow "`key` must".
_WORDS = (
    ("Value error, ", ""),
    ("Input should be ", "be "),
    ("greater than or equal to", ">="),
    ("less than or equal to", "<="),
    ("greater than", ">"),
    ("less than", "<"),
)


def _check_finite(value: Any) -> None:
    """Raises an error for NaN or infinity at any depth, because `save` never writes them."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, float) and not math.isfinite(part):
            raise InputError(f"numbers must be finite. Received: {part}.")
        if isinstance(part, dict):
            stack.extend(part.values())
        elif isinstance(part, list | tuple):
            stack.extend(part)


def _describe(record: type[Record], error: ValidationError) -> str:
    """Formats a pydantic error on one line: `key` must ...; `key` must ...; and 2 more."""
    errors = error.errors(include_url=False)
    shown = [_describe_one(record, item) for item in errors[:_SHOWN]]
    more = len(errors) - len(shown)
    return "; ".join([*shown, f"and {more} more"] if more else shown)


def _describe_one(record: type[Record], item: ErrorDetails) -> str:
    # A step in <> is the tag of a union member, not a key.
    steps = tuple(step for step in item["loc"] if not str(step).startswith("<"))
    key = ".".join(f"{step!s:.60}" for step in steps) or "the whole"
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, InputError):  # already names its parameter and the value received
        return str(cause)
    if item["type"] == "missing":
        return f"`{key}` must be given"
    if item["type"] == "extra_forbidden":
        near = _nearest(record, steps)
        return f"`{key}` must be a known key" + (f".{near}" if near else "")
    rule = item["msg"]
    for theirs, ours in _WORDS:
        rule = rule.replace(theirs, ours)
    message = f"`{key}` must {rule.removeprefix('must ')}" if _is_rule(rule) else f"`{key}`: {rule}"
    given = item.get("input")
    if isinstance(given, dict):
        return message
    choices = re.findall("'([^']*)'", rule) if item["type"] == "literal_error" else ()
    near = did_you_mean(given, choices)
    return f"{message}. Received: {shown(given):.80}{near and '.'}{near}"


def _nearest(record: type[Record], location: tuple[int | str, ...]) -> str:
    """Suggests the key that an unknown key resembles most in its table.

    Without such a key, it suggests keys with the same name in other tables, at most three.
    """
    wrong = str(location[-1])
    near = did_you_mean(wrong, _known_keys(record, location))
    if near:
        return near
    others = [key for key in dotted_keys(record) if key.rpartition(".")[2] == wrong]
    return f" Did you mean `{'` or `'.join(others[:3])}`?" if others else ""


def dotted_keys(record: type[Record], prefix: str = "") -> Iterator[str]:
    """Yields the dotted names of all settings of a record and, recursively, of its tables.

    Example:
        >>> class Inner(Record):
        ...     b: int = 0
        >>> class Outer(Record):
        ...     a: Inner = Inner()
        >>> list(dotted_keys(Outer))
        ['a', 'a.b']
    """
    for name, field in record.model_fields.items():
        yield f"{prefix}{name}"
        for part in _records_in(field.annotation):
            yield from dotted_keys(part, f"{prefix}{name}.")


def _known_keys(record: type[Record], location: tuple[int | str, ...]) -> list[str]:
    """Returns the valid keys of the table that contains `location`."""
    parts = [record]
    for step in location[:-1]:
        fields = [part.model_fields[str(step)] for part in parts if step in part.model_fields]
        if fields:  # otherwise the step is an index of a list or a key of a dict
            parts = [found for field in fields for found in _records_in(field.annotation)]
    return [key for part in parts for key in part.model_fields]


def _records_in(annotation: object) -> list[type[Record]]:
    """Returns the records in an annotation such as `tuple[TargetsShard, ...] | None`."""
    if get_origin(annotation) is None:
        return (
            [annotation] if isinstance(annotation, type) and issubclass(annotation, Record) else []
        )
    return [found for part in get_args(annotation) for found in _records_in(part)]


def _is_rule(text: str) -> bool:
    return text.startswith(("be ", "must "))
