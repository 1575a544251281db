"""Runs jobs in local processes, a fresh Python for each."""

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
    """Yields a function that starts a task in a child. Leaving the block ends the children.

    Args:
        workers: How many children run at a time.
        environment: Changes to the environment of this process.
    """
    children: set[Child] = set()
    changes = {**environment, "PYTHONPATH": os.pathsep.join(sys.path)}

    def run(task: Task, log: Path) -> dict[str, Any]:
        with Child(_SERVICE, log=log, environment=changes) as child:
            children.add(child)
            try:
                return child.ask("run", task=task)
            except ChildError as error:
                raise Killed(f"its process {error.reason}", error.log) from error
            finally:
                children.discard(child)

    with ThreadPoolExecutor(workers) as pool:
        try:
            yield lambda task, log: pool.submit(run, task, log)
        finally:
            for child in list(children):
                child.close()
