"""The bases of every record on disk: JSON for results, TOML for what people write."""

import sys
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from keras_distill._internal import InputError, _files
from keras_distill._internal._types import PathLike

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Record(BaseModel):
    """A validated piece of JSON on disk: unknown keys are refused, writing is atomic.

    Example:
        >>> class Note(Record):
        ...     text: str
        >>> Note(text="a").model_dump()
        {'text': 'a'}
        >>> Note.parse({"text": 1}, source="note")
        Traceback (most recent call last):
        keras_distill.InputError: note: `text` must be a valid string. Received: 1
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")

    @classmethod
    def parse(cls, value: Any, *, source: str) -> Self:
        """Validates `value` (a dict, or JSON text); errors name source, key and rule.

        Raises:
            InputError: If it does not fit.
        """
        try:
            if isinstance(value, str | bytes):
                return cls.model_validate_json(value)
            return cls.model_validate(value)
        except ValidationError as error:
            raise InputError(f"{source}: {describe(error)}") from error

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Reads a record that `save` wrote.

        Raises:
            InputError: If the file is not there, not JSON, or does not fit.
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


# pydantic's words -> this project's, which follow "`key` must".
_RULES = {
    "missing": "be given",
    "extra_forbidden": "be a known key",
}
_WORDS = (
    ("Value error, ", ""),
    ("Input should be ", "be "),
    ("greater than or equal to", ">="),
    ("less than or equal to", "<="),
    ("greater than", ">"),
    ("less than", "<"),
)


def describe(error: ValidationError) -> str:
    """All of a pydantic error on one line: `key` must ...; `key` must ..."""
    return "; ".join(_describe(item) for item in error.errors(include_url=False))


def _describe(item: Any) -> str:
    key = ".".join(map(str, item["loc"])) or "the whole"
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, InputError):  # names its parameter and what was received already
        return str(cause)
    rule = _RULES.get(item["type"])
    if rule is not None:
        return f"`{key}` must {rule}"
    rule = item["msg"]
    for words, ours in _WORDS:
        rule = rule.replace(words, ours)
    message = f"`{key}` must {rule.removeprefix('must ')}" if _is_rule(rule) else f"`{key}`: {rule}"
    given = item.get("input")
    return message if isinstance(given, dict) else f"{message}. Received: {given!r:.80}"


def _is_rule(text: str) -> bool:
    return text.startswith(("be ", "must "))
