"""Writes `.keras` files atomically, byte-identical for equal models."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

from keras_distill._internal import _files
from keras_distill._internal._types import PathLike
from keras_distill.models._copy_weights import copy_weights

_METADATA, _CONFIG = "metadata.json", "config.json"
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip archive can store
_CHUNK = 1 << 20


def save(model: keras.Model, path: PathLike, *, overwrite: bool = False) -> Path:
    """Saves a model as a `.keras` file, atomically; equal models give byte-identical files.

    Keras stores the time in the archive, and numbers shared objects by their address in memory.
    Here, the time is always 1980-01-01, and shared objects are numbered from 1.

    Args:
        model: A built model, with its compiled state if it is compiled.
        path: The file.
        overwrite: Whether to replace an existing file.

    Returns:
        The path.

    Raises:
        InputError: If the file exists, or cannot be written.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> folder = Path(tempfile.mkdtemp())
        >>> one, two = (save(model, folder / f"{i}.keras").read_bytes() for i in range(2))
        >>> one == two
        True
    """
    with _files.atomic_path(path, overwrite=overwrite, folder=False) as temporary:
        model.save(temporary)
        _normalize(temporary)
    return Path(path)


def save_uncompiled(model: keras.Model, path: PathLike) -> keras.Model:
    """Saves a model like `save`, but without the compiled state; replaces an existing file.

    Args:
        model: A built model.
        path: The file.

    Returns:
        The saved model, an uncompiled copy.

    Raises:
        InputError: If the file cannot be written.
    """
    config: Any = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    plain = keras.saving.deserialize_keras_object(config)
    copy_weights(model, plain)
    save(plain, path, overwrite=True)
    return plain


def _normalize(path: Path) -> None:
    """Rewrites an archive of Keras without the parts that differ between two saves."""
    with (
        _files.atomic_path(path, overwrite=True, folder=False) as temporary,
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(temporary, "w") as new,
    ):
        for member in old.infolist():
            info = zipfile.ZipInfo(member.filename, _DATE)
            info.file_size = member.file_size  # large members need another form of header
            with new.open(info, "w") as file, old.open(member) as source:
                if member.filename == _METADATA:
                    file.write(_dated(source.read()))
                elif member.filename == _CONFIG:
                    file.write(_numbered(source.read()))
                else:
                    while chunk := source.read(_CHUNK):
                        file.write(chunk)


def _dated(metadata: bytes) -> bytes:
    found = json.loads(metadata)
    year, month, day = _DATE[:3]
    return json.dumps({**found, "date_saved": f"{year}-{month:02d}-{day:02d}@00:00:00"}).encode()


def _numbered(config: bytes) -> bytes:
    """Renumbers the shared objects of a config in the order in which they occur."""
    numbers: dict[int, int] = {}

    def number(part: dict[str, Any]) -> dict[str, Any]:
        if "shared_object_id" in part:
            shared = part["shared_object_id"]
            part["shared_object_id"] = numbers.setdefault(shared, len(numbers) + 1)
        return part

    return json.dumps(json.loads(config, object_hook=number)).encode()
