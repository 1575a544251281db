"""Runs jobs in local processes, each of which runs one job after another."""

import contextlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from keras_distill._internal._child import Child, ChildError
from keras_distill.work.jobs._in_turn import Killed, Start, Task

_SERVICE = "keras_distill.work.jobs._in_turn:Service"


@contextlib.contextmanager
def processes(workers: int, environment: dict[str, str]) -> Iterator[Start]:
    """Yields a function that runs a task in a child process. Leaving the block ends the children.

    A child is started if none is idle. It then runs further tasks until it dies, because importing
    TensorFlow and reading data often take longer than a job.

    Args:
        workers: The maximum number of children.
        environment: Changes to the environment variables of this process.
    """
    children: set[Child] = set()
    idle: list[Child] = []
    changes = {**environment, "PYTHONPATH": os.pathsep.join(sys.path)}

    def run(task: Task, log: Path) -> dict[str, Any]:
        child = idle.pop() if idle else Child(_SERVICE, environment=changes)
        children.add(child)
        before = log.stat().st_size if log.exists() else 0
        try:
            answer = child.ask("run", task=task, log=str(log.resolve()))
        except ChildError as error:
            children.discard(child)
            child.close()
            raise Killed(f"its process {error.reason}", error.log + _read(log, before)) from error
        idle.append(child)
        return answer

    with ThreadPoolExecutor(workers) as pool:
        try:
            yield lambda task, log: pool.submit(run, task, log)
        finally:
            for child in list(children):
                child.close()


def _read(log: Path, start: int) -> str:
    """Returns the content of a log from byte `start` on, or "" if the log is missing."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")
