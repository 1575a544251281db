"""Creates temporary folders, and removes those that killed processes have left."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from keras_distill._internal import _files

try:
    import fcntl
except ImportError:  # Windows has no flock, so folders of killed processes are not removed there.
    fcntl = None  # type: ignore[assignment]

_PREFIX, _LOCK = "keras-distill-", ".lock"
_NEW = ".keras-distill-"  # prefix of a folder that is not locked yet
_AGE = 600.0  # seconds after which a folder that is not locked yet counts as abandoned


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """Yields a new temporary folder and removes it at the end.

    Folders that killed processes have left are removed first. A folder in use is locked, and the
    operating system releases the lock when the process ends, even if it is killed.

    Example:
        >>> with temporary_folder() as folder:
        ...     os.path.isdir(folder)
        True
        >>> os.path.exists(folder)
        False
    """
    root = Path(tempfile.gettempdir())
    _remove_abandoned(root)
    # The folder gets its final name only once it is locked, so a folder with such a name that is
    # not locked is abandoned.
    new = Path(tempfile.mkdtemp(prefix=_NEW))
    folder, lock = new, None
    try:
        lock = _locked(new)
        folder = root / new.name.removeprefix(".")
        os.rename(new, folder)
        yield str(folder)
    finally:
        # If the process is killed during the removal, the rest may have no lock file. Under this
        # name it is removed by age.
        with contextlib.suppress(OSError):
            os.rename(folder, new)
        _files.remove(new)
        if lock is not None:
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """Locks a folder, and returns its open lock file, or None if another process has locked it."""
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
    """Removes the temporary folders in `root` that killed processes have left."""
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
