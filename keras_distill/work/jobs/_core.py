"""Independent jobs and their records.

A job is a function named by its module, with JSON arguments, so that any process can run it and
nothing is pickled. Its outcome is written to `<folder>/<name>/job.json`; a completed job is not run
again. Seeds, sweeps, and specialists are such jobs.
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
    """One piece of independent work.

    Attributes:
        name: Its name and the name of its folder; safe as a file name.
        function: `package.module:function`, importable from anywhere. It takes the arguments by
            name and returns a JSON value.
        arguments: JSON values. They are part of the job's identity.
        places: Further arguments, paths, that are not part of it: a completed job stays completed
            when its folder moves.

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
        """SHA-256 of function and arguments, 64 hexadecimal digits."""
        text = json.dumps([self.function, self.arguments], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def task(self) -> Task:
        """Returns the job as a process runs it."""
        arguments = {**self.arguments, **self.places}
        return {
            "function": self.function,
            "arguments": arguments,
            "path": list(sys.path),
            "folder": os.getcwd(),
        }


class JobPool:
    """Runs jobs, several calls in the same processes.

    Use it as a context manager. Nothing is started before a job has to run.

    Args:
        backend: `in-turn` in this process; `processes`, local Python processes; `ray`, workers of
            a cluster that Ray is connected to or finds, else of a local one until the pool is left.
            A process runs one job after another, so that it imports and reads what they share once.
        workers: How many jobs run at a time; ignored by `in-turn`.
        threads: Threads of TensorFlow in each process; ignored by `in-turn`. None: the machine's
            cores divided by `workers`.
        retries: How often a job is started again after its process was killed. A job that raises
            an exception is not started again: it would raise it again.

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
        """Runs the jobs that are not completed yet; see `run_jobs`.

        Raises:
            InputError: If names repeat.
            MissingExtraError: If the backend is Ray and Ray is not installed.
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
        folder: Where each job leaves `<name>/job.json` and, outside this process,
            `<name>/log.txt`. With Ray on several machines, a folder that all of them see.
        backend: See `JobPool`, as for the next three.
        workers: How many run at a time.
        threads: Threads of TensorFlow in each process.
        retries: How often a job whose process was killed is started again.
        report: Called when a job ends, or is found completed, with its record and whether the
            record is from an earlier call. Called in the order in which the jobs end.

    Returns:
        The records in the order of `jobs`; their `status` says which failed.

    Raises:
        InputError: If names repeat, or an argument is invalid.
        MissingExtraError: If the backend is Ray and Ray is not installed.

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
    """Returns the record of the job in `folder` if it is completed with equal arguments."""
    path = Path(folder) / job.name / _RECORD
    if not path.exists():
        return None
    record = JobRecord.load(path)
    same = record.fingerprint == job.fingerprint
    return record if same and record.status == "done" else None


def job_failures(records: Sequence[JobRecord]) -> list[str]:
    """Lists the failed jobs, each on one line with the reason."""
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
    """Runs all jobs, at most `slots` at a time; yields each record when its job ends.

    A killed job is started again up to `retries` times.
    """
    running: dict[Future[dict[str, Any]], tuple[Job, int, float]] = {}

    def launch(job: Job, attempt: int) -> None:
        place = folder / job.name
        place.mkdir(parents=True, exist_ok=True)
        since = time.monotonic()  # before the start, which in this process is the whole job
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
