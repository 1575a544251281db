"""Manages folders of results that are either complete or absent, and whose work can resume."""

import contextlib
import errno
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typing_extensions import Self

from keras_distill._internal import InputError, KerasDistillWarning, _files, _machine, bad
from keras_distill.records import Record

try:
    import fcntl
except ImportError:  # Windows has no flock: concurrent writers are not detected there.
    fcntl = None  # type: ignore[assignment]

_SCRATCH = "work"
_LOCK, _MARKER = _files.LOCK, _files.MARKER
# Errors of `flock` on file systems without locks, such as some NFS and Lustre mounts.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


class _Sessions(Record):
    """The sessions of unfinished work so far.

    Attributes:
        started: The UTC time at which the first session began.
        seconds: The wall time of all sessions.
        settings: The settings of the work.
    """

    started: str
    seconds: float
    settings: dict[str, Any]


class _Marker(Record):
    """The content of the marker file of a folder.

    Attributes:
        what: What the folder contains, such as "run".
        unfinished: The sessions so far, or None once the folder is finished.
    """

    what: str
    unfinished: _Sessions | None = None


class FolderLock:
    """Lets one process at a time write to a folder.

    Use it as a context manager. The operating system releases the lock when the process ends, even
    if it is killed.

    Args:
        path: The folder. It is created if it does not exist.

    Raises:
        InputError: On entering, if another process holds the lock, or the folder is not empty and
            was not written by this package.

    Example:
        >>> import tempfile
        >>> with FolderLock(Path(tempfile.mkdtemp(), "folder")) as lock:
        ...     lock.held
        True
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Creates the folder if it does not exist, locks it, and adds the package's marker file.

        Between opening and locking the lock file, another process may have finished and moved the
        folder. The lock is therefore valid only if the lock file is still in place; otherwise
        locking starts again.

        Raises:
            InputError: If another process holds the lock, or the folder is not empty and was not
                written by this package.
        """
        while self._file is None:
            _files.check_ours(self._path)
            self._path.mkdir(parents=True, exist_ok=True)
            try:
                file = os.open(self._path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:
                continue
            try:
                _lock(file, self._path)
                if _is_at(file, self._path / _LOCK):
                    os.ftruncate(file, 0)
                    os.write(file, str(os.getpid()).encode())
                    (self._path / _MARKER).touch()
                    self._file = file
            except BlockingIOError as error:
                owner = os.read(file, 20).decode() or "unknown"
                raise InputError(
                    f"{self._path} is in use by another process (process ID {owner}). Wait until it"
                    " ends, or choose another output."
                ) from error
            finally:
                if self._file is None:
                    os.close(file)

    def release(self) -> None:
        """Unlocks the folder."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def clear(self, keep: Callable[[str], bool] = lambda name: False) -> None:
        """Removes everything except the lock, the marker, and names for which `keep` is true."""
        for entry in self._path.iterdir():
            if entry.name not in (_LOCK, _MARKER) and not keep(entry.name):
                _files.remove(entry)


def remove_lock(path: Path) -> None:
    """Removes the lock file from a finished folder."""
    _files.remove(path / _LOCK)


def settle(path: Path) -> None:
    """Completes a folder whose process was killed right after it moved the folder into place.

    Such a process leaves the lock file, and a marker file that still contains the sessions.

    Args:
        path: The finished folder. It may be missing.

    Raises:
        InputError: If another process is completing the folder.
    """
    if os.path.isfile(path / _LOCK):  # False also for an invalid name
        with FolderLock(path):
            _write_final_marker(path)
            remove_lock(path)


class WorkFolder:
    """A folder of results, which is `<out>.unfinished/` during the work and then `<out>/`.

    Use it as a context manager. Entering locks the folder, so that only one process writes to it,
    and resumes unfinished work with the same settings. Leaving saves the wall time and unlocks the
    folder. If the work has written nothing, leaving also removes the folder. The operating system
    releases the lock when the process ends, even if it is killed.

    Every folder of this class has a marker file, `.keras-distill`. A folder with contents but
    without a marker file is never replaced or emptied, even with `overwrite=True`.

    Args:
        out: The path of the finished folder.
        settings: JSON values that determine the result. Unfinished work is resumed if its settings
            are equal to these.
        overwrite: Whether to replace an existing `out` (at the end, atomically) and to discard
            unfinished work with other settings.
        what: The kind of work for messages, such as "run".

    Attributes:
        out: The path of the finished folder.
        path: The folder to write to, `<out>.unfinished`.
        scratch: The folder for temporary results, `path / "work"`, which `finish` removes.
        resumed: Whether work of an earlier session was found. Set on entering.
        started: The UTC time at which the first session began. Set on entering.

    Raises:
        InputError: If `settings` are not JSON values, `out` exists and may not be replaced, another
            process is completing `out`, or there is unfinished work with other settings and
            `overwrite` is False. On entering, if another process is writing to the folder, or for
            unfinished work as before.

    Example:
        >>> import tempfile
        >>> with WorkFolder(Path(tempfile.mkdtemp(), "small"), {"seed": 0}) as folder:
        ...     _ = (folder.path / "result.txt").write_text("done")
        ...     out = folder.finish()
        >>> (out / "result.txt").read_text()
        'done'
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        settings: dict[str, Any],
        *,
        overwrite: bool = False,
        what: str = "run",
    ) -> None:
        settle(Path(out))
        self.out = _files.check_output(out, overwrite=overwrite)
        self.path = self.out.with_name(self.out.name + ".unfinished")
        self.scratch = self.path / _SCRATCH
        self.resumed, self.started = False, ""
        try:
            self._settings = json.loads(json.dumps(settings, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise bad("settings", f"be JSON values ({error})", settings) from error
        self._overwrite, self._what = overwrite, what
        self._lock = FolderLock(self.path)
        self._before = self._since = 0.0
        self._new_parents: list[Path] = []
        _files.check_ours(self.out)
        self._check_settings()

    @property
    def seconds(self) -> float:
        """The wall time of all sessions so far, in seconds."""
        return self._before + time.monotonic() - self._since

    def __enter__(self) -> Self:
        self._new_parents = [folder for folder in self.path.parents if not folder.exists()]
        self._lock.acquire()
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            # A session that wrote nothing, such as one with a wrong argument, leaves no folder.
            if self._lock.held and self._begun():
                self._save()
            elif self._lock.held:
                _files.remove(self.path)
                with contextlib.suppress(OSError):  # a parent is not empty
                    for folder in self._new_parents:
                        folder.rmdir()
        finally:
            self._lock.release()

    def finish(self) -> Path:
        """Moves the folder to `out` and unlocks it.

        The scratch folder and the temporary files of killed processes are removed first.

        Returns:
            The path `out`.

        Raises:
            InputError: If `out` exists by now and may not be replaced.
        """
        _files.remove(self.scratch)
        _files.remove_leftovers(self.path)
        self._save()
        _files.check_ours(self.out)
        if not self._overwrite:
            _files.check_output(self.out)
        _files.replace_folder(self.path, self.out)
        _write_final_marker(self.out)
        remove_lock(self.out)
        self._lock.release()
        return self.out

    def discard(self) -> None:
        """Removes the folder and the lock, for work whose result is stored elsewhere."""
        _files.remove(self.path)
        self._lock.release()

    def _open(self) -> None:
        """Resumes the work in the locked folder if the settings are equal, or clears the folder."""
        self._check_settings()
        earlier = _read_sessions(self.path)
        self._since = time.monotonic()
        self.resumed = False
        if earlier is not None and earlier.settings == self._settings and self._begun():
            self.resumed = True
            self.started, self._before = earlier.started, earlier.seconds
            _files.remove_leftovers(self.path)
        else:
            self._lock.clear()
            self.started, self._before = _machine.now(), 0.0
        self.scratch.mkdir(exist_ok=True)
        self._save()

    def _save(self) -> None:
        sessions = _Sessions(started=self.started, seconds=self.seconds, settings=self._settings)
        marker = _Marker(what=self._what, unfinished=sessions)
        marker.save(self.path / _MARKER, overwrite=True)

    def _begun(self) -> bool:
        """Returns whether the folder has more than lock, marker, and an empty scratch folder."""
        if not self.path.is_dir():
            return False
        names = {entry.name for entry in self.path.iterdir()} - {_MARKER, _LOCK}
        return bool(names - {_SCRATCH}) or (self.scratch.is_dir() and any(self.scratch.iterdir()))

    def _check_settings(self) -> None:
        """Rejects unfinished work with other settings, unless it may be discarded."""
        _files.check_ours(self.path)
        if self._overwrite or not self._begun():
            return
        earlier = _read_sessions(self.path)
        if earlier is None or earlier.settings == self._settings:
            return
        found = earlier.settings
        names = sorted(
            name
            for name in {*found, *self._settings}
            if found.get(name) != self._settings.get(name)
        )
        raise InputError(
            f"{self.path} is an unfinished {self._what} with other settings (they differ in:"
            f" {', '.join(names)}). Finish it with those settings, choose another output, or"
            " discard it with overwrite=True (--overwrite)."
        )


def _lock(file: int, folder: Path) -> None:
    """Locks an open file. Warns if the file system has no locks; does nothing on Windows.

    Raises:
        BlockingIOError: If another process holds the lock.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"The file system of {folder} has no locks ({_files.reason(error)}). Let only one"
            " process write to it at a time.",
            KerasDistillWarning,
            stacklevel=2,
        )


def _is_at(file: int, path: Path) -> bool:
    """Returns whether the open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _read_sessions(path: Path) -> _Sessions | None:
    """Returns the sessions in the marker of a folder.

    The result is None without a marker, or if the folder is finished work. The latter happens if a
    process is killed while it replaces a finished folder.
    """
    marker = _read_marker(path)
    return None if marker is None else marker.unfinished


def _read_marker(path: Path) -> _Marker | None:
    file = path / _MARKER
    if not file.exists() or not file.stat().st_size:
        return None
    try:
        return _Marker.parse(_files.read_text(file), source="the marker")
    except InputError as error:
        raise InputError(f"{file} is damaged ({error}). Remove {path} to start again.") from error


def _write_final_marker(path: Path) -> None:
    """Removes the sessions from the marker file; an empty one, as in a store, stays empty."""
    marker = _read_marker(path)
    if marker is not None and marker.unfinished is not None:
        _files.write_json(path / _MARKER, {"what": marker.what}, overwrite=True)
