"""Atomic writing of files and folders, and checks of archives."""

import contextlib
import ctypes
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from keras_distill._internal import InputError
from keras_distill._internal._types import Json, PathLike

_CHUNK = 1 << 20
# A name that `atomic_path` makes: `.<stem>-<8 characters of tempfile><suffix>`.
_TEMPORARY = re.compile(r"\..*-[a-z0-9_]{8}(\.[^.]*)?")


def check_output(path: PathLike, *, overwrite: bool = False) -> Path:
    """Returns `path` if something may be written there; creates nothing.

    Args:
        path: The file or folder to be written.
        overwrite: Whether an existing one may be replaced.

    Raises:
        InputError: If it exists and `overwrite` is false, or its folder, or the nearest
            existing one, is not writable.
    """
    path = Path(path)
    if not path.exists() and _aside(path).exists():
        os.rename(_aside(path), path)  # a replacement was interrupted
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists. Pass overwrite=True (--overwrite) or another path.")
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        # os.access says yes to root on a read-only mount, so write something.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return path


def _cannot_write(folder: Path, error: OSError) -> InputError:
    return InputError(f"Cannot write in {folder}: {error.strerror or error}.")


def remove(path: Path) -> None:
    """Removes a file, a link, or a folder with its contents; a missing one is not an error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_path(path: PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary path next to `path`; renames it to `path` when the block succeeds.

    The block writes a file or makes a folder at the temporary path, which has the same suffix. If
    the block fails, whatever it wrote is removed, and an existing `path` is unchanged.

    Args:
        path: The file or folder to make.
        overwrite: Whether an existing one may be replaced.

    Raises:
        InputError: If `path` exists and `overwrite` is false, or its folder is not writable.

    Example:
        >>> import tempfile, pathlib
        >>> out = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_path(out) as temporary:
        ...     _ = temporary.write_text("all or nothing")
        >>> out.read_text()
        'all or nothing'
    """
    path = check_output(path, overwrite=overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
    except OSError as error:
        raise _cannot_write(path.parent, error) from error
    os.close(handle)
    temporary = Path(name)
    temporary.unlink()
    try:
        yield temporary
        if temporary.is_dir():
            replace_folder(temporary, path)
        else:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        remove(temporary)


def replace_folder(temporary: Path, path: Path) -> None:
    """Renames the folder `temporary` to `path`; an existing one is exchanged with it, then removed.

    Where the system cannot exchange two names at once, the existing one is moved aside. Should the
    process be killed at that moment, `check_output` moves it back.
    """
    if not path.exists():
        os.rename(temporary, path)
    elif _exchange(temporary, path):
        remove(temporary)
    else:
        aside = _aside(path)
        remove(aside)
        os.rename(path, aside)
        try:
            os.rename(temporary, path)
        except OSError:
            os.rename(aside, path)
            raise
        remove(aside)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


def _exchange(first: Path, second: Path) -> bool:
    """Swaps two paths in one step (Linux); returns whether the system did."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    at_working_folder, exchange = -100, 2
    names = (os.fsencode(first), os.fsencode(second))
    return renameat2(at_working_folder, names[0], at_working_folder, names[1], exchange) == 0


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed process left of `atomic_path` in a folder and all folders in it.

    No other process may be writing there.
    """
    for path in list(folder.rglob(".*")):
        if _TEMPORARY.fullmatch(path.name):
            remove(path)


def write_bytes(path: PathLike, data: bytes, *, overwrite: bool = False) -> Path:
    """Writes `data` to `path` atomically; returns the path."""
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def write_text(path: PathLike, text: str, *, overwrite: bool = False) -> Path:
    """Writes `text` to `path` as UTF-8, atomically; returns the path."""
    return write_bytes(path, text.encode(), overwrite=overwrite)


def write_json(path: PathLike, value: Json, *, overwrite: bool = False) -> Path:
    """Writes `value` to `path` as indented JSON, atomically; returns the path."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n", overwrite=overwrite)


def sha256(path: PathLike) -> str:
    """Computes the SHA-256 of a file, 64 hexadecimal digits; reads 1 MiB at a time."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def check_archive(path: PathLike, *, max_bytes: int = 16 << 30) -> None:
    """Refuses a zip archive (a `.keras` file is one) that is unsafe to read.

    Args:
        path: The archive.
        max_bytes: The largest total size of its members, unpacked.

    Raises:
        InputError: If it is not a zip archive, is damaged, or contains a name that leaves its
            folder, a link, or more than `max_bytes`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            total = 0
            for member in archive.infolist():
                name = PurePosixPath(member.filename.replace("\\", "/"))
                if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
                    raise InputError(f"{path}: unsafe name in the archive: {member.filename!r}.")
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise InputError(f"{path}: a link in the archive: {member.filename!r}.")
                total += member.file_size
            if total > max_bytes:
                raise InputError(f"{path}: unpacks to {total} bytes, more than {max_bytes}.")
            damaged = archive.testzip()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder, not a file.") from error
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, IndexError) as error:
        raise InputError(f"{path}: not a readable zip archive ({error}).") from error
    except Exception as error:  # zlib and struct errors of damaged members
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: damaged archive ({error}).") from error
    if damaged is not None:
        raise InputError(f"{path}: damaged archive, checksum of {damaged!r} is wrong.")
