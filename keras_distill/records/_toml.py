"""Records that people write: TOML files."""

import os
import sys
from pathlib import Path
from typing import Any

import tomli_w
from typing_extensions import Self

from keras_distill._internal import InputError, _files
from keras_distill.records._base import Record

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class TomlRecord(Record):
    """A record whose file is TOML."""

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Reads a record from a TOML file.

        Raises:
            InputError: If the file cannot be read, is not TOML, or a key is unknown or wrong.
        """
        return cls.parse(read_toml(path), source=str(path))

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Writes the record as TOML, atomically; returns the path."""
        text = tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
        return _files.write_text(path, text, overwrite=overwrite)


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
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
