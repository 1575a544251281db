"""Runs independent jobs and writes their records.

A job is an importable function, identified by its module and name, with JSON arguments. Any process
can therefore run it, and nothing is pickled. Its outcome is written to `<folder>/<name>/job.json`,
and a completed job is not run again. Seeds, sweeps, and specialists run as such jobs.
"""

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import Self

from keras_distill._internal import (
    bad,
    check_choice,
    check_count,
    check_identifier,
    require_extra,
)
from keras_distill.records import JobRecord
from keras_distill.work.jobs._in_turn import Killed, Start, Task, in_turn
from keras_distill.work.jobs._processes import processes
from keras_distill.work.jobs._ray import on_ray

BACKENDS = ("in-turn", "processes", "ray")
_RECORD, _LOG = "job.json", "log.txt"


@dataclass(frozen=True)
class Job:
    """An independent unit of work: a call of a function.

    Attributes:
        name: The name of the job and of its folder, of letters, digits, and `._-`.
        function: The function, as `package.module:function`, importable from anywhere. It is called
            with keyword arguments and returns a JSON value.
        arguments: The arguments, as JSON values. They are part of the identity of the job.
        places: Further arguments, such as paths, that are not part of its identity. A completed job
            therefore remains completed when its folder moves.

    Raises:
        InputError: If an attribute is invalid.

    Example:
        >>> job = Job("sum", "math:fsum", {})
        >>> len(job.fingerprint)
        64
    """

    name: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_identifier("name", self.name)
        module, colon, function = self.function.partition(":")
        if not (module and colon and function) or module == "__main__":
            raise bad(
                "function", "be package.module:function, importable from anywhere", self.function
            )
        try:
            json.dumps({**self.arguments, **self.places}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise bad("arguments", f"be JSON values ({error})", self.arguments) from error

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of function and arguments, as 64 hexadecimal digits."""
        text = json.dumps([self.function, self.arguments], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def task(self) -> Task:
        """The description of the job that is sent to a process."""
        arguments = {**self.arguments, **self.places}
        return {
            "function": self.function,
            "arguments": arguments,
            "path": list(sys.path),
            "folder": os.getcwd(),
        }


class JobPool:
    """Runs jobs, and keeps its processes for later calls of `run`.

    Use it as a context manager. Nothing is started until a job has to run.

    Args:
        backend: Where jobs run. "in-turn": one after another in this process. "processes": in local
            Python processes. "ray": on the workers of the Ray cluster that is connected or found,
            or else of a local cluster that runs until the pool is left. A process runs several jobs
            one after another, so that it imports and reads shared code and data only once.
        workers: The number of jobs that run at a time; ignored by "in-turn".
        threads: The number of TensorFlow threads in each process; ignored by "in-turn". If None,
            the number of cores divided by `workers`.
        retries: How often a job is started again after its process was killed. A job that raises
            an exception is not started again, because it would fail in the same way.

    Raises:
        InputError: If an argument is invalid.

    Example:
        >>> import tempfile
        >>> with JobPool() as pool:
        ...     records = pool.run([Job("cores", "os:cpu_count")], tempfile.mkdtemp())
        >>> records[0].status
        'done'
    """

    def __init__(
        self,
        backend: str = "in-turn",
        workers: int = 1,
        *,
        threads: int | None = None,
        retries: int = 1,
    ) -> None:
        self._backend = check_choice("backend", backend, BACKENDS)
        self._workers = check_count("workers", workers)
        self._retries = check_count("retries", retries, at_least=0)
        threads = max(1, (os.cpu_count() or 1) // workers) if threads is None else threads
        self._threads = check_count("threads", threads)
        self._open = contextlib.ExitStack()
        self._start: Start | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._start = None
        self._open.close()

    def run(
        self,
        jobs: Sequence[Job],
        folder: str | os.PathLike[str],
        *,
        report: Callable[[JobRecord, bool], None] = lambda record, kept: None,
    ) -> list[JobRecord]:
        """Runs the jobs that are not completed yet.

        Args:
            jobs: See `run_jobs`.
            folder: See `run_jobs`.
            report: See `run_jobs`.

        Returns:
            The records in the order of `jobs`.

        Raises:
            InputError: If two jobs have the same name, or the Ray cluster of RAY_ADDRESS cannot be
                reached.
            MissingExtraError: If a job has to run on Ray and Ray is not installed.
        """
        names = [job.name for job in jobs]
        if len(set(names)) < len(names):
            raise bad("jobs", "have different names", names)
        folder = Path(folder)
        records = {job.name: finished_job(job, folder) for job in jobs}
        for record in records.values():
            if record is not None:
                report(record, True)
        waiting = [job for job in jobs if records[job.name] is None]
        if waiting:
            slots = 1 if self._backend == "in-turn" else self._workers
            for record in _run_all(waiting, folder, self._started(), slots, self._retries):
                records[record.name] = record
                report(record, False)
        return [record for name in names if (record := records[name]) is not None]

    def _started(self) -> Start:
        if self._start is None:
            if self._backend == "ray":
                require_extra("ray", "ray")
            backend = _backend(self._backend, self._workers, self._threads)
            self._start = self._open.enter_context(backend)
        return self._start


def run_jobs(
    jobs: Sequence[Job],
    folder: str | os.PathLike[str],
    *,
    backend: str = "in-turn",
    workers: int = 1,
    threads: int | None = None,
    retries: int = 1,
    report: Callable[[JobRecord, bool], None] = lambda record, kept: None,
) -> list[JobRecord]:
    """Runs the jobs that are not completed yet. A failed job does not affect the others.

    Args:
        jobs: The jobs, with different names.
        folder: The folder for `<name>/job.json` of each job, and for `<name>/log.txt` unless the
            backend is "in-turn". With Ray on several machines, all of them must have access to it.
        backend: See `JobPool`.
        workers: See `JobPool`.
        threads: See `JobPool`.
        retries: See `JobPool`.
        report: A function that is called with the record of a job, and with whether the record is
            from an earlier call. It is first called for the jobs that are already completed, and
            then for each job when it ends.

    Returns:
        The records in the order of `jobs`. Their `status` shows which jobs failed.

    Raises:
        InputError: If two jobs have the same name, an argument is invalid, or the Ray cluster of
            RAY_ADDRESS cannot be reached.
        MissingExtraError: If a job has to run on Ray and Ray is not installed.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> jobs = [Job("two", "math:sqrt", {}), Job("cores", "os:cpu_count", {})]
        >>> [record.status for record in run_jobs(jobs, folder)]
        ['failed', 'done']
    """
    with JobPool(backend, workers, threads=threads, retries=retries) as pool:
        return pool.run(jobs, folder, report=report)


def finished_job(job: Job, folder: str | os.PathLike[str]) -> JobRecord | None:
    """Returns the record of a job that was completed with the same arguments, or else None."""
    path = Path(folder) / job.name / _RECORD
    if not path.exists():
        return None
    record = JobRecord.load(path)
    same = record.fingerprint == job.fingerprint
    return record if same and record.status == "done" else None


def job_failures(records: Sequence[JobRecord]) -> list[str]:
    """Lists the failed jobs as lines of name and reason."""
    return [f"{r.name}: {r.error}" for r in records if r.status == "failed"]


def _backend(backend: str, workers: int, threads: int) -> contextlib.AbstractContextManager[Start]:
    environment = {
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
    }
    if backend == "in-turn":
        return in_turn()
    if backend == "processes":
        return processes(workers, environment)
    return on_ray(workers, threads, environment)


def _run_all(
    jobs: Sequence[Job], folder: Path, start: Start, slots: int, retries: int
) -> Iterator[JobRecord]:
    """Runs all jobs, at most `slots` at a time, and yields each record when its job ends.

    A killed job is started again up to `retries` times.
    """
    running: dict[Future[dict[str, Any]], tuple[Job, int, float]] = {}

    def launch(job: Job, attempt: int) -> None:
        place = folder / job.name
        place.mkdir(parents=True, exist_ok=True)
        since = time.monotonic()  # before `start`, which with "in-turn" runs the whole job
        running[start(job.task, place / _LOG)] = (job, attempt, since)

    waiting = list(reversed(jobs))
    while waiting or running:
        while waiting and len(running) < slots:
            launch(waiting.pop(), 1)
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            job, attempt, since = running.pop(future)
            result = error = None
            try:
                answer = future.result()
                result, error = answer.get("result"), answer.get("error")
            except Killed as killed:
                if attempt <= retries:
                    launch(job, attempt + 1)
                    continue
                error = str(killed)
            record = JobRecord(
                name=job.name,
                function=job.function,
                fingerprint=job.fingerprint,
                status="failed" if error else "done",
                result=result,
                error=error,
                attempts=attempt,
                seconds=time.monotonic() - since,
            )
            record.save(folder / job.name / _RECORD, overwrite=True)
            yield record
