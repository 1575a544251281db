"""A folder of results that is complete or absent, and work on it that can be interrupted."""

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
# What `flock` raises on file systems without locks, such as some mounts of NFS and Lustre.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


class _Sessions(Record):
    """The sessions of unfinished work so far."""

    started: str
    seconds: float
    settings: dict[str, Any]


class _Marker(Record):
    """The content of the marker file: what the folder is, and its sessions until it is finished."""

    what: str
    unfinished: _Sessions | None = None


class FolderLock:
    """Lets one process at a time write to a folder.

    Use it as a context manager. The lock belongs to the process: the system releases it when the
    process is killed.

    Args:
        path: The folder; created if it does not exist.

    Raises:
        InputError: On entering, if another process holds the lock, or the folder has contents that
            the package has not written.

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
        """Creates the folder if it does not exist, locks it, and marks it as the package's own.

        Between opening and locking the file, another process may have finished and moved the
        folder: the lock counts only if the file is still in place.
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
        """Removes everything in the folder but lock, marker, and the names that `keep` accepts."""
        for entry in self._path.iterdir():
            if entry.name not in (_LOCK, _MARKER) and not keep(entry.name):
                _files.remove(entry)


def remove_lock(path: Path) -> None:
    """Removes the lock's file from a finished folder."""
    _files.remove(path / _LOCK)


def settle(path: Path) -> None:
    """Completes a finished folder whose process was killed right after it moved it into place.

    That process left the lock's file, and the sessions in the marker.

    Args:
        path: The finished folder; it need not exist.

    Raises:
        InputError: If another process is about to complete it.
    """
    if os.path.isfile(path / _LOCK):  # False for every name that is none
        with FolderLock(path):
            _write_final_marker(path)
            remove_lock(path)


class WorkFolder:
    """`<out>.unfinished/` during the work, `<out>/` once it is complete.

    Use it as a context manager. Entering locks the folder, so that only one process writes to it,
    and resumes unfinished work of the same settings. Leaving saves the wall time and unlocks. The
    lock belongs to the process: the system releases it when the process is killed.

    Every folder of this class has a marker file, `.keras-distill`. A folder without one is never
    replaced or emptied, whatever `overwrite` says.

    Args:
        out: Where the finished folder goes.
        settings: JSON values that decide the result. Unfinished work is resumed if its settings
            are equal to these.
        overwrite: Whether to replace an existing `out` (at the end, atomically) and to discard
            unfinished work with other settings.
        what: What is made, for messages.

    Attributes:
        out: As given.
        path: The folder to write to, `<out>.unfinished`.
        scratch: `path / "work"`, removed by `finish`.
        resumed: Whether work of an earlier session was found. Set on entering.
        started: UTC time at which the first session began. Set on entering.

    Raises:
        InputError: If `out` exists and may not be replaced, another process is writing, or there
            is unfinished work with other settings and no `overwrite`. The last two also on
            entering.

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
        """Wall time of all sessions so far."""
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
            # A session that made nothing, such as one with a wrong argument, leaves nothing.
            if self._lock.held and self._begun():
                self._save()
            elif self._lock.held:
                _files.remove(self.path)
                with contextlib.suppress(OSError):  # another process uses one of them
                    for folder in self._new_parents:
                        folder.rmdir()
        finally:
            self._lock.release()

    def finish(self) -> Path:
        """Removes scratch and leftovers, moves the folder to `out`, and returns `out`."""
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
        """Removes the folder and unlocks: the result of the work is somewhere else."""
        _files.remove(self.path)
        self._lock.release()

    def _open(self) -> None:
        """Resumes what is in the locked folder, or starts anew."""
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
        """Returns whether the folder has more than an empty scratch folder, lock, and marker."""
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
    """Locks an open file, where the system and the file system can.

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
    """Reads the marker of the folder; None if it has none, or is not unfinished work.

    The latter is a finished folder that was replaced by a process killed at that moment.
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
    """Removes the sessions from the marker; an empty marker, such as a store's, stays empty."""
    marker = _read_marker(path)
    if marker is not None and marker.unfinished is not None:
        _files.write_json(path / _MARKER, {"what": marker.what}, overwrite=True)
