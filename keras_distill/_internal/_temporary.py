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
_AGE = 600.0  # seconds; a younger folder may not be locked yet


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
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        lock = _locked(Path(folder))
        try:
            yield folder
        finally:
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
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            old = time.time() - found.st_mtime > _AGE
            if not old or found.st_uid != os.getuid() or not (folder / _LOCK).is_file():
                continue
            lock = _locked(folder)
            if lock is not None:
                _files.remove(folder)
                os.close(lock)
