"""The folder of a sweep. Every command that adds to it locks it and writes directly into it."""

import os
from pathlib import Path
from typing import Any

from typing_extensions import Self

from keras_distill._internal import InputError, _files, _machine
from keras_distill.records import Record, SweepRecord
from keras_distill.work import FolderLock, remove_lock

RECORD, TABLE, PAGE, RECIPE = "sweep.json", "sweep.csv", "report.html", "recipe.toml"
STUDENT, BEST = "student.keras", "best.toml"
_SETTINGS = "settings.json"


class _Settings(Record):
    """The settings that all commands of a sweep have in common, saved in its folder."""

    started: str
    settings: dict[str, Any]


class SweepFolder:
    """A folder that keeps its jobs, so that a later command trains only what is missing.

    Use it as a context manager. Entering locks the folder, so that only one process at a time adds
    to the sweep. The lock belongs to the process; the system releases it if the process is killed.

    Args:
        out: The folder.
        settings: JSON values that all commands of this sweep must have in common.
        overwrite: Whether to discard what the folder contains, also a sweep with equal settings.

    Attributes:
        path: The resolved path of the folder.
        jobs: The folder of the jobs' records.
        teachers: The folder of the teachers.
        stores: The folder of the stores of soft targets.
        students: The folder of the students' weights.
        started: UTC time at which the first command started. Set on entering.
        earlier: The record of earlier commands; None without one. Set on entering.

    Raises:
        InputError: On entering, if another process uses the folder, or `overwrite` is false and the
            folder contains something else or a sweep with other settings.
    """

    def __init__(
        self, out: str | os.PathLike[str], settings: dict[str, Any], *, overwrite: bool = False
    ) -> None:
        self.path = Path(out).resolve()
        self.jobs = self.path / "jobs"
        self.teachers = self.path / "teachers"
        self.stores = self.path / "stores"
        self.students = self.path / "students"
        self.started, self.earlier = "", None
        self._settings, self._overwrite = settings, overwrite
        self._lock = FolderLock(self.path)

    def __enter__(self) -> Self:
        _files.check_output(self.path, overwrite=True, folder=True)
        found = self._found()
        differ = None if found is None else _differences(found.settings, self._settings)
        if differ and not self._overwrite:
            raise InputError(
                f"{self.path} holds a sweep of another recipe (they differ in:"
                f" {', '.join(differ)}). Vary these keys with --grid, choose another output, or"
                " discard that sweep with overwrite=True (--overwrite)."
            )
        self._lock.acquire()
        try:
            if found is None or differ or self._overwrite:
                self._lock.clear()
                found = _Settings(started=_machine.now(), settings=self._settings)
                found.save(self.path / _SETTINGS, overwrite=True)
            self.started = found.started
            _files.remove_leftovers(self.path)
            if (self.path / RECORD).exists():
                self.earlier = SweepRecord.load(self.path / RECORD)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        # If no job was completed or interrupted, as after a wrong argument, the folder is removed.
        made = self.jobs.exists() and any(self.jobs.glob("*/job.json"))
        if not made and not any(self.path.glob("*/*.unfinished")):
            _files.remove(self.path)
        remove_lock(self.path)
        self._lock.release()

    def _found(self) -> _Settings | None:
        """Returns the settings of the sweep in the folder; None if there is none."""
        _files.check_ours(self.path)
        if (self.path / _SETTINGS).exists():
            return _Settings.load(self.path / _SETTINGS)
        there = self.path.is_dir() and any(e.name[0] != "." for e in self.path.iterdir())
        if there and not self._overwrite:
            raise InputError(
                f"{self.path} exists and is not a sweep. Pass overwrite=True (--overwrite) or"
                " another path."
            )
        return None


def _differences(a: Any, b: Any, name: str = "") -> list[str]:
    """Returns the dotted keys whose values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted({*a, *b})
        return [
            found
            for key in keys
            for found in _differences(a.get(key), b.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if a == b else [name]
