"""Independent jobs: in turn, in local processes, or on Ray. Resumable, and one failure is one.

A job is a function named by module and its JSON arguments, so that any process can run it and
nothing is pickled. Its end is written to `<folder>/<name>/job.json`; a job that is done is not run
again. Seeds, sweeps and specialists are such jobs.
"""

import contextlib
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_distill._internal import InputError, _checks, _files, bad
from keras_distill.records._jobs import JobRecord

BACKENDS = ("in-turn", "processes", "ray")
_RECORD, _LOG, _TASK, _ANSWER = "job.json", "log.txt", "task.json", "answer.json"
_LOG_TAIL = 400
_RAY_STARTS = 3


@dataclass(frozen=True)
class Job:
    """One piece of independent work.

    Attributes:
        name: Its name, which is its folder's too; safe as a file name.
        function: `package.module:function`, importable from anywhere. It takes the arguments by
            name and returns a JSON value.
        arguments: JSON values. They are part of what makes the job this job.
        places: More arguments: paths, which say where and not what. A job that is done stays done
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
        _checks.check_identifier("name", self.name)
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


def run(
    jobs: Sequence[Job],
    folder: str | os.PathLike,
    *,
    backend: str = "in-turn",
    workers: int = 1,
    threads: int | None = None,
    retries: int = 1,
    report: Callable[[JobRecord, bool], None] = lambda record, kept: None,
) -> list[JobRecord]:
    """Runs the jobs that are not done yet; what one does to itself does not touch the others.

    Args:
        jobs: The jobs, with different names.
        folder: Where each leaves `<name>/job.json` and, outside this process, `<name>/log.txt`.
            With Ray on several machines, a folder that all of them see.
        backend: `in-turn` in this process; `processes`, a fresh Python for each job; `ray`, a
            fresh Ray worker for each (a cluster that Ray is connected to or finds, else a local
            one for the time of the call).
        workers: How many at a time, where not in turn.
        threads: Threads of TensorFlow in each job, where not in turn; None: the machine's cores
            divided by `workers`.
        retries: How often a job is started again after its process was killed (an exception is
            not retried: it would come again).
        report: Called as each job ends, or is found done, with its record and whether it was kept
            from an earlier call. In the order in which they end.

    Returns:
        The records in the order of `jobs`; `status` says which failed.

    Raises:
        InputError: If names repeat, or an argument breaks its rule.
        MissingExtraError: If Ray is asked for and not installed.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> jobs = [Job("two", "math:sqrt", {}), Job("cores", "os:cpu_count", {})]
        >>> [record.status for record in run(jobs, folder)]
        ['failed', 'done']
    """
    _checks.check_choice("backend", backend, BACKENDS)
    _checks.check_count("workers", workers)
    _checks.check_count("retries", retries, at_least=0)
    threads = max(1, (os.cpu_count() or 1) // workers) if threads is None else threads
    _checks.check_count("threads", threads)
    names = [job.name for job in jobs]
    if len(set(names)) < len(names):
        raise bad("jobs", "have different names", names)
    folder = Path(folder)
    records = {job.name: finished(job, folder) for job in jobs}
    for record in records.values():
        if record is not None:
            report(record, True)
    waiting = [job for job in jobs if records[job.name] is None]
    if waiting:
        if backend == "ray":
            _checks.require_extra("ray", "ray")
        with _runner(backend, workers, threads) as start:
            for record in _run_all(waiting, folder, start, retries):
                records[record.name] = record
                report(record, False)
    return [records[name] for name in names]


def finished(job: Job, folder: str | os.PathLike) -> JobRecord | None:
    """The record of a job that is done, with these very arguments, in `folder`; else None."""
    path = Path(folder) / job.name / _RECORD
    if not path.exists():
        return None
    record = JobRecord.load(path)
    same = record.fingerprint == job.fingerprint
    return record if same and record.status == "done" else None


def failures(records: Sequence[JobRecord]) -> list[str]:
    """One line for each job that failed: its name and why."""
    return [f"{r.name}: {r.error}" for r in records if r.status == "failed"]


class _Killed(Exception):
    """A job's process ended without an answer."""


def _run_all(
    jobs: Sequence[Job], folder: Path, start: Callable[[Path], Future], retries: int
) -> Iterator[JobRecord]:
    """Starts all jobs; yields each record as it ends. A killed one starts again `retries` times."""
    running: dict[Future, tuple[Job, int, float]] = {}

    def launch(job: Job, attempt: int) -> None:
        place = folder / job.name
        place.mkdir(parents=True, exist_ok=True)
        (place / _ANSWER).unlink(missing_ok=True)
        arguments = {**job.arguments, **job.places}
        task = {"function": job.function, "arguments": arguments, "path": sys.path}
        _files.write_json(place / _TASK, task, overwrite=True)
        running[start(place)] = (job, attempt, time.monotonic())

    waiting = list(reversed(jobs))
    while waiting or running:
        # In turn, a start is the whole run: only one at a time, so that each is recorded at once.
        while waiting and len(running) < start.slots:
            launch(waiting.pop(), 1)
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            job, attempt, since = running.pop(future)
            answer = _answer(future)
            if "killed" in answer and attempt <= retries:
                launch(job, attempt + 1)
                continue
            error = answer.get("killed") or answer.get("error")
            record = JobRecord(
                name=job.name,
                function=job.function,
                fingerprint=job.fingerprint,
                status="failed" if error else "done",
                result=answer.get("result"),
                error=error,
                attempts=attempt,
                seconds=time.monotonic() - since,
            )
            record.save(folder / job.name / _RECORD, overwrite=True)
            (folder / job.name / _TASK).unlink(missing_ok=True)
            (folder / job.name / _ANSWER).unlink(missing_ok=True)
            yield record


def _answer(future: Future) -> dict[str, Any]:
    try:
        return future.result()
    except _Killed as error:
        return {"killed": str(error)}


@dataclass
class _Starter:
    """Starts the job whose task stands in a folder; at most `slots` at a time."""

    slots: int
    function: Callable[[Path], Future]

    def __call__(self, place: Path) -> Future:
        return self.function(place)


@contextlib.contextmanager
def _runner(backend: str, workers: int, threads: int) -> Iterator[_Starter]:
    environment = {
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
    }
    if backend == "in-turn":
        yield _Starter(1, _start_here)
    elif backend == "processes":
        with _processes(workers, environment) as start:
            yield _Starter(workers, start)
    else:
        with _ray(workers, threads, environment) as start:
            yield _Starter(workers, start)


def _start_here(place: Path) -> Future:
    future: Future = Future()
    future.set_result(_execute(place))
    return future


@contextlib.contextmanager
def _processes(workers: int, environment: dict[str, str]) -> Iterator[Callable[[Path], Future]]:
    """A thread for each running child; whatever ends this block ends the children too."""
    children: set[subprocess.Popen] = set()

    def run_child(place: Path) -> dict[str, Any]:
        with open(place / _LOG, "ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "keras_distill.work._jobs", str(place), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        children.add(child)
        code = child.wait()
        children.discard(child)
        return _read_answer(place, code)

    with ThreadPoolExecutor(workers) as pool:
        try:
            yield lambda place: pool.submit(run_child, place)
        finally:
            for child in list(children):
                child.terminate()


def _read_answer(place: Path, code: int) -> dict[str, Any]:
    """What the job left; without an answer it was killed, by itself or from outside."""
    if (place / _ANSWER).exists():
        return json.loads((place / _ANSWER).read_text())
    if code < 0:
        how = f"killed by {signal.Signals(-code).name}"
    else:
        how = f"ended with exit code {code} and no answer"
    raise _Killed(f"its process was {how}{_log_tail(place)}")


def _log_tail(place: Path) -> str:
    try:
        text = (place / _LOG).read_text(errors="replace")
    except OSError:
        return ""
    tail = " ".join(text[-_LOG_TAIL:].split())
    return f"; the log ends: {tail}" if tail else ""


@contextlib.contextmanager
def _ray(
    workers: int, threads: int, environment: dict[str, str]
) -> Iterator[Callable[[Path], Future]]:
    """Ray workers, each of which runs one job and ends."""
    import ray

    here = not ray.is_initialized()
    if here:
        os.environ.setdefault("RAY_DISABLE_IMPORT_WARNING", "1")
        try:
            ray.init(address="auto", log_to_driver=False)
        except ConnectionError:
            start_local_ray(workers * threads)
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    task = ray.remote(
        num_cpus=threads,
        max_retries=0,
        max_calls=1,
        runtime_env={"env_vars": {**environment, **path}},
    )(_execute_on_ray)

    def start(place: Path) -> Future:
        future: Future = Future()

        def collect() -> None:
            try:
                future.set_result(ray.get(reference))
            except ray.exceptions.RayError as error:
                reason = f"its Ray worker died ({type(error).__name__}){_log_tail(place)}"
                future.set_exception(_Killed(reason))

        reference = task.remote(str(place.resolve()))
        threading.Thread(target=collect, daemon=True).start()
        return future

    try:
        yield start
    finally:
        if here:
            ray.shutdown()


def start_local_ray(cores: int) -> None:
    """Starts a Ray cluster on this machine.

    Ray waits 30 seconds for itself and no longer, which a busy machine may need more than once.

    Args:
        cores: What the cluster may use.
    """
    import ray

    for attempt in range(_RAY_STARTS):
        try:
            ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False)
            return
        except Exception as error:  # Ray has no class of its own for this
            ray.shutdown()
            if attempt == _RAY_STARTS - 1 or "timed out during startup" not in str(error):
                raise


def _execute_on_ray(place: str) -> dict[str, Any]:
    """`_execute` in a Ray worker, what it prints in the job's own log."""
    with open(Path(place) / _LOG, "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    return _execute(Path(place))


def _execute(place: Path) -> dict[str, Any]:
    """Runs the task in `place` here; returns its result, or its error in one line."""
    task = json.loads((place / _TASK).read_text())
    sys.path.extend(entry for entry in task["path"] if entry not in sys.path)
    module, _, name = task["function"].partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        result = json.loads(json.dumps(function(**task["arguments"]), allow_nan=False))
    except (Exception, SystemExit) as error:
        known = isinstance(error, InputError)
        if not known:
            traceback.print_exc()
        line = " ".join(str(error).split())
        return {"error": line if known else f"{type(error).__name__}: {line}"}
    return {"result": result}


def _end_with(parent: int) -> None:
    """Ends this process when its parent is gone, so that a resumed run never meets its orphan."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _main(arguments: Sequence[str]) -> int:
    place, parent = Path(arguments[0]), int(arguments[1])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    answer = _execute(place)
    sys.stdout.flush()
    sys.stderr.flush()
    _files.write_json(place / _ANSWER, answer, overwrite=True)
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
