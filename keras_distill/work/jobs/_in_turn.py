"""Runs jobs one after another in this process, and runs the function of a job in any process."""

import contextlib
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypedDict

from keras_distill._internal import InputError

_LOG_TAIL = 400


class Task(TypedDict):
    """The description of a job that is sent to a process.

    Attributes:
        function: The function, as `package.module:function`.
        arguments: The keyword arguments, as JSON values.
        path: The `sys.path` of this process.
        folder: The working folder of this process.
    """

    function: str
    arguments: dict[str, Any]
    path: list[str]
    folder: str


# Starts a task and returns the future of its response. What the task prints goes to the given file.
Start = Callable[[Task, Path], Future[dict[str, Any]]]


class Killed(Exception):
    """The process of a job ended without a response."""

    def __init__(self, reason: str, log: str) -> None:
        tail = " ".join(log[-_LOG_TAIL:].split())
        super().__init__(f"{reason}; the log ends: {tail}" if tail else reason)


class Service:
    """Runs jobs in a child process (`_internal._child`)."""

    def run(self, task: Task, log: str) -> dict[str, Any]:
        """Runs a task. What it prints is appended to the file `log`."""
        return execute_logged(task, log)


def execute_logged(task: Task, log: str) -> dict[str, Any]:
    """Runs a task in a process that runs only jobs. What it prints is appended to the job's log."""
    sys.stdout.flush()
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if os.path.isdir(task["folder"]):  # a worker of Ray has another working folder
        os.chdir(task["folder"])
    return execute(task)


def execute(task: Task) -> dict[str, Any]:
    """Runs a task in this process.

    Returns:
        `{"result": ...}`, or `{"error": ...}` with a message of one line.
    """
    sys.path.extend(entry for entry in task["path"] if entry not in sys.path)
    module, _, name = task["function"].partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        result = json.loads(json.dumps(function(**task["arguments"]), allow_nan=False))
    except (Exception, SystemExit) as error:
        line = " ".join(str(error).split())
        if isinstance(error, InputError):
            return {"error": line}
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {line}"}
    return {"result": result}


@contextlib.contextmanager
def in_turn() -> Iterator[Start]:
    """Yields a function that runs a task to its end before it returns."""

    def start(task: Task, log: Path) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        future.set_result(execute(task))
        return future

    yield start
