"""The bases of every record on disk: JSON for results, TOML for what people write."""

import difflib
import sys
from pathlib import Path
from typing import Any, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import Self

from keras_distill._internal import InputError, _files
from keras_distill._internal._types import PathLike

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Record(BaseModel):
    """A validated JSON file: unknown keys are refused, writing is atomic.

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

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")

    @classmethod
    def parse(cls, value: Any, *, source: str) -> Self:
        """Validates `value` (a dict, or JSON text); errors name source, key, and rule.

        Raises:
            InputError: If it does not fit.
        """
        try:
            if isinstance(value, str | bytes):
                return cls.model_validate_json(value)
            return cls.model_validate(value)
        except ValidationError as error:
            raise InputError(f"{source}: {_describe(cls, error)}") from error

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Reads a record that `save` wrote.

        Raises:
            InputError: If the file cannot be read, is not JSON, or does not fit.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
        except UnicodeDecodeError as error:
            raise InputError(f"Cannot read {path}: {error}.") from error
        return cls.parse(text, source=str(path))

    def save(self, path: PathLike, *, overwrite: bool = False) -> Path:
        """Writes the record as JSON, atomically; returns the path."""
        text = self.model_dump_json(indent=2)
        return _files.write_text(path, text + "\n", overwrite=overwrite)


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
    """The values of a TOML file.

    Raises:
        InputError: If the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}.") from error


# Messages of pydantic -> those of this project, which follow "`key` must".
_WORDS = (
    ("Value error, ", ""),
    ("Input should be ", "be "),
    ("greater than or equal to", ">="),
    ("less than or equal to", "<="),
    ("greater than", ">"),
    ("less than", "<"),
)


def _describe(record: type[Record], error: ValidationError) -> str:
    """Returns all of a pydantic error on one line: `key` must ...; `key` must ..."""
    return "; ".join(_describe_one(record, item) for item in error.errors(include_url=False))


def _describe_one(record: type[Record], item: ErrorDetails) -> str:
    key = ".".join(map(str, item["loc"])) or "the whole"
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, InputError):  # names its parameter and what was received already
        return str(cause)
    if item["type"] == "missing":
        return f"`{key}` must be given"
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(item["loc"][-1]), _known_keys(record, item["loc"]), 1)
        return f"`{key}` must be a known key" + (f". Did you mean `{near[0]}`?" if near else "")
    rule = item["msg"]
    for theirs, ours in _WORDS:
        rule = rule.replace(theirs, ours)
    message = f"`{key}` must {rule.removeprefix('must ')}" if _is_rule(rule) else f"`{key}`: {rule}"
    given = item.get("input")
    return message if isinstance(given, dict) else f"{message}. Received: {given!r:.80}"


def _known_keys(record: type[Record], location: tuple[int | str, ...]) -> list[str]:
    """Returns the keys of the record, or of the part of it, that `location` is a key of."""
    parts = [record]
    for step in location[:-1]:
        fields = [part.model_fields[str(step)] for part in parts if step in part.model_fields]
        if fields:  # else a place in a list, or a key of a dict
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
