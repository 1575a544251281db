"""Temporary folders that do not outlive their process, even one that is killed."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from keras_distill._internal import _files

try:
    import fcntl
except ImportError:  # Windows has no flock: folders of killed processes stay there.
    fcntl = None  # type: ignore[assignment]

_PREFIX, _LOCK = "keras-distill-", ".lock"
_NEW = ".keras-distill-"  # until it is locked
_AGE = 600.0  # seconds after which a folder that is not locked yet never will be


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """Yields a new temporary folder and removes it at the end.

    Folders that killed processes left are removed as well. A folder in use is locked, and the
    system releases the lock of a process that ends in whatever way.

    Example:
        >>> with temporary_folder() as folder:
        ...     os.path.isdir(folder)
        True
        >>> os.path.exists(folder)
        False
    """
    root = Path(tempfile.gettempdir())
    _remove_abandoned(root)
    # It gets its name once it is locked, so that every folder of that name was locked by a process.
    new = Path(tempfile.mkdtemp(prefix=_NEW))
    folder, lock = new, None
    try:
        lock = _locked(new)
        folder = root / new.name.removeprefix(".")
        os.rename(new, folder)
        yield str(folder)
    finally:
        with contextlib.suppress(OSError):  # if it is killed now, what is left may have no lock
            os.rename(folder, new)
        _files.remove(new)
        if lock is not None:
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """The open, locked lock file of a folder; None if another process has locked it."""
    if fcntl is None:
        return None
    file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def _remove_abandoned(root: Path) -> None:
    """Removes the folders in `root` that no process has locked."""
    for folder in [*root.glob(f"{_PREFIX}*"), *root.glob(f"{_NEW}*")]:
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if found.st_uid != os.getuid():
                continue
            if folder.name.startswith(_NEW):
                if time.time() - found.st_mtime > _AGE:
                    _files.remove(folder)
            elif (folder / _LOCK).is_file():
                lock = _locked(folder)
                if lock is not None:
                    _files.remove(folder)
                    os.close(lock)
