"""Writes files and folders atomically, and checks paths."""

import contextlib
import ctypes
import gzip
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_distill._internal import InputError
from keras_distill._internal._checks import shallow
from keras_distill._internal._types import Json, PathLike

MARKER = ".keras-distill"  # a file in every folder that the package writes
LOCK = ".lock"  # a file in a folder while a process writes to it

_CHUNK = 1 << 20
_MAX_TEXT = 32 << 20
# A name that `atomic_path` creates: `.<stem>-<8 characters of tempfile><suffix>`.
_TEMPORARY = re.compile(r"\..*-[a-z0-9_]{8}(\.[^.]*)?")


def check_file(path: PathLike, *, max_bytes: int | None = None) -> Path:
    """Returns `path` if it is a regular file, or a link to one.

    Call it before reading any file of the user, because opening a FIFO blocks, and reading a device
    may never end.

    Args:
        path: The file to read.
        max_bytes: The largest allowed size. If None, any size.

    Raises:
        InputError: If the path does not exist, is not a regular file, or is larger.
    """
    path = Path(path)
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise InputError(f"Cannot read {path}: no such file.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {path}: {reason(error)}.") from error
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path} is a folder, not a file.")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is {_special(found.st_mode)}. Only regular files are read.")
    if max_bytes is not None and found.st_size > max_bytes:
        raise InputError(f"{path} has {found.st_size} bytes; at most {max_bytes} are read.")
    return path


def read_bytes(path: PathLike, *, max_bytes: int = _MAX_TEXT) -> bytes:
    """Returns the content of a small file.

    Args:
        path: The file.
        max_bytes: The largest allowed size, 32 MiB by default.

    Raises:
        InputError: If `check_file` rejects the file, or it cannot be read.
    """
    path = check_file(path, max_bytes=max_bytes)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {reason(error)}.") from error


def read_text(path: PathLike, *, max_bytes: int = _MAX_TEXT) -> str:
    """Returns the content of a small UTF-8 file.

    Raises:
        InputError: If `check_file` rejects the file, or it cannot be read or is not UTF-8.
    """
    try:
        return read_bytes(path, max_bytes=max_bytes).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"Cannot read {path}: not UTF-8 text ({error}).") from error


def read_json(path: PathLike, *, max_bytes: int = _MAX_TEXT) -> Json:
    """Returns the value of a small JSON file.

    Raises:
        InputError: As for `read_text`, or if the file is not JSON, or is nested more than 100
            levels deep.
    """
    try:
        return shallow(json.loads(read_text(path, max_bytes=max_bytes)))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"Cannot read {path}: not JSON ({error}).") from error


def reason(error: BaseException) -> str:
    """Returns the message of an error without the path; it is never empty."""
    return getattr(error, "strerror", None) or str(error).rstrip(".") or type(error).__name__


def _special(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "FIFO"), (stat.S_ISSOCK, "socket"), (stat.S_ISDIR, "folder"))
    name = next((name for is_kind, name in kinds if is_kind(mode)), "device")
    return f"a {name}, not a file"


def check_output(path: PathLike, *, overwrite: bool = False, folder: bool | None = None) -> Path:
    """Returns `path` if a file or folder may be written there, and creates nothing.

    Only regular files, empty folders, and folders that the package has written are ever replaced.
    If an earlier replacement of the path was interrupted, the old file or folder is moved back.

    Args:
        path: The file or folder to write.
        overwrite: Whether an existing path may be replaced.
        folder: Whether a folder is written. None if this is not known yet.

    Raises:
        InputError: If the path exists and may not be replaced, or the nearest existing parent
            folder is not writable.
    """
    path = Path(path)
    if "\0" in str(path):
        raise InputError(f"Cannot write {str(path)!r:.200}: a null character in the name.")
    try:
        if not path.exists() and _aside(path).exists():
            os.rename(_aside(path), path)  # a replacement was interrupted
        exists = os.path.lexists(path)
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot write {str(path)!r:.200}: {reason(error)}.") from error
    if exists:
        _check_replaceable(path, folder)
        if not overwrite:
            raise InputError(f"{path} exists. Pass overwrite=True (--overwrite) or another path.")
    parent = path.parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    try:
        # os.access returns True to root on a read-only mount, so write something.
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise _cannot_write(parent, error) from error
    return path


def _check_replaceable(path: Path, folder: bool | None) -> None:
    """Rejects existing paths that are never replaced, even with `overwrite=True`."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{path} is a link to nothing. Choose another output.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(
            f"{path} is {_special(mode)}. It is never replaced: choose another output."
        )
    if stat.S_ISDIR(mode) and folder is False:
        raise InputError(f"{path} is a folder; give the name of a file.")
    if stat.S_ISREG(mode) and folder:
        raise InputError(f"{path} is a file; give the name of a folder.")
    if stat.S_ISDIR(mode):
        check_ours(path)


def check_ours(path: Path) -> None:
    """Rejects all paths except a missing path, an empty folder, and a folder of this package.

    Raises:
        InputError: If the path is not a folder, or is a folder with contents but without a marker
            file.
    """
    if not path.exists():
        return
    try:
        names = {entry.name for entry in path.iterdir()} if path.is_dir() else {path.name}
    except OSError as error:
        raise _cannot_write(path, error) from error
    if not path.is_dir() or (MARKER not in names and names - {LOCK}):
        raise InputError(
            f"{path} exists and was not made by keras-distill (it has no {MARKER} file), so it is"
            " not replaced. Move it away, or choose another output."
        )


def _cannot_write(folder: Path, error: OSError) -> InputError:
    return InputError(f"Cannot write in {folder}: {reason(error)}.")


def remove(path: Path) -> None:
    """Removes a file, a link, or a folder with its contents. A missing path is not an error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_path(
    path: PathLike, *, overwrite: bool = False, folder: bool | None = None
) -> Iterator[Path]:
    """Yields a temporary path beside `path`, and renames it to `path` if the block succeeds.

    The block writes a file or creates a folder at the temporary path, which has the same suffix. If
    the block fails, the temporary path is removed, and an existing `path` is unchanged.

    Args:
        path: The path of the result.
        overwrite: Whether an existing path may be replaced.
        folder: Whether a folder is written. None if this is not known yet.

    Raises:
        InputError: If `check_output` rejects `path`.

    Example:
        >>> import tempfile, pathlib
        >>> out = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_path(out) as temporary:
        ...     _ = temporary.write_text("all or nothing")
        >>> out.read_text()
        'all or nothing'
    """
    path = check_output(path, overwrite=overwrite, folder=folder)
    made = [parent for parent in path.parents if not parent.exists()]
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
            if os.path.lexists(path):
                _check_replaceable(path, folder=False)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise
    finally:
        remove(temporary)


def replace_folder(temporary: Path, path: Path) -> None:
    """Renames the folder `temporary` to `path`, and removes an existing folder at `path`.

    The renamed folder gets the marker file. An existing folder is exchanged with the new one in one
    step. If the system does not support this, the existing folder is first moved aside. If the
    process is killed at that moment, `check_output` moves it back.

    Raises:
        InputError: If `path` exists and may never be replaced.
    """
    if os.path.lexists(path):
        _check_replaceable(path, folder=True)
    (temporary / MARKER).touch()
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
    """Exchanges two paths in one step (Linux only), and returns whether it succeeded."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    at_working_folder, exchange = -100, 2
    names = (os.fsencode(first), os.fsencode(second))
    return renameat2(at_working_folder, names[0], at_working_folder, names[1], exchange) == 0


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary paths of `atomic_path` that a killed process left in a folder.

    Subfolders are included. No other process may write to the folder at the same time.
    """
    for path in list(folder.rglob(".*")):
        if _TEMPORARY.fullmatch(path.name):
            remove(path)


def write_bytes(path: PathLike, data: bytes, *, overwrite: bool = False) -> Path:
    """Writes `data` to `path` atomically, and returns the path."""
    with atomic_path(path, overwrite=overwrite, folder=False) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def write_text(path: PathLike, text: str, *, overwrite: bool = False) -> Path:
    """Writes `text` to `path` atomically as UTF-8, and returns the path."""
    return write_bytes(path, text.encode(), overwrite=overwrite)


def write_json(path: PathLike, value: Json, *, overwrite: bool = False) -> Path:
    """Writes `value` to `path` atomically as indented JSON, and returns the path."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n", overwrite=overwrite)


def sizes(path: PathLike) -> tuple[int, int]:
    """Returns the size of a file in bytes, and its size after gzip -9 without a time stamp."""
    content = Path(path).read_bytes()
    return len(content), len(gzip.compress(content, 9, mtime=0))


def sha256(path: PathLike) -> str:
    """Computes the SHA-256 of a file as 64 hexadecimal digits, reading 1 MiB at a time."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
