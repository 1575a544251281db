"""Runs child processes that serve requests, with one line of JSON per request and per response.

Everything that may crash or hang, or needs a fresh interpreter, runs in such a child: the LiteRT
interpreter, the converter, TensorFlow loading a SavedModel, timed training, and independent jobs.

    with Child("package.module:Service") as child:
        answer = child.ask("add", a=1, b=2, timeout=60)

The child imports `package.module`, creates a `Service`, and calls its method `add`. Its standard
output and standard error go to a log. It ends together with its parent: a thread of the child waits
for the end of standard input, which the system closes when the parent dies.
"""

import contextlib
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from typing_extensions import Self

import keras_distill
from keras_distill._internal import InputError
from keras_distill._internal._types import PathLike

_RUN = "from keras_distill._internal._child import main; main()"
_serving = threading.Event()


class ChildError(Exception):
    """A request to a child process failed.

    Args:
        reason: See the attribute.
        log: See the attribute.
        raised: See the attribute.
        timed_out: See the attribute.
        signal: See the attribute.

    Attributes:
        reason: If the child ended, a phrase with the child as its subject, such as "crashed
            (SIGSEGV)". If the service raised an exception, a description of it.
        log: The output of the child.
        raised: Whether the service raised an exception. The child then still serves requests.
        timed_out: Whether the child was ended because the request took too long.
        signal: The name of the signal that ended the child, or None.
    """

    def __init__(
        self,
        reason: str,
        log: str,
        *,
        raised: bool = False,
        timed_out: bool = False,
        signal: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason, self.log = reason, log
        self.raised, self.timed_out, self.signal = raised, timed_out, signal

    @property
    def lines(self) -> list[str]:
        """The lines of the log that are not empty."""
        return [line.strip() for line in self.log.splitlines() if line.strip()]

    @property
    def last_line(self) -> str:
        """The last line of the log, or the reason if the child printed nothing."""
        return self.lines[-1] if self.lines else self.reason


class Child:
    """Starts a child process and sends requests to it. Leaving the `with` block ends the child.

    Args:
        service: The class that serves the requests, as `package.module:Class`. It is created
            without arguments.
        log: The file to which the output of the child is appended. If None, a temporary file.
        environment: Changes to the environment variables of this process. A value of None removes a
            variable.
        memory: The limit of the child's address space, in bytes. If None, there is no limit.
        before: Python code to execute before this package is imported.
        flags: Flags for the Python interpreter.
    """

    def __init__(
        self,
        service: str,
        *,
        log: PathLike | None = None,
        environment: Mapping[str, str | None] | None = None,
        memory: int | None = None,
        before: str = "",
        flags: tuple[str, ...] = (),
    ) -> None:
        self._log: IO[bytes] = (
            tempfile.TemporaryFile() if log is None else open(log, "a+b")  # noqa: SIM115
        )
        self._log.seek(0, os.SEEK_END)
        self._start = self._log.tell()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, *flags, "-c", f"{before}\n{_RUN}", service, str(memory or 0)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            env=child_environment(environment),
        )
        assert self._process.stdin is not None and self._process.stdout is not None  # pipes
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """Ends the child, even during a request of another thread."""
        self._process.kill()
        with self._lock:
            self._process.wait()
            for pipe in (self._requests, self._answers):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
            self._log.close()

    def ask(self, method: str, /, *, timeout: float | None = None, **arguments: Any) -> Any:
        """Calls a method of the service.

        Args:
            method: The name of the method.
            timeout: The time limit in seconds, after which the child is ended. If None, there is no
                limit.
            **arguments: The keyword arguments of the method, as JSON values.

        Returns:
            The return value of the method, a JSON value.

        Raises:
            InputError: If the method raised an `InputError`.
            ChildError: If the method raised another exception, or the child died or took too long.
        """
        with self._lock:
            line, timed_out = self._exchange(json.dumps([method, arguments]), timeout)
            if timed_out:
                reason = f"took longer than {timeout:g} s and was ended"
                raise ChildError(reason, self._printed(), timed_out=True)
            if not line.endswith("\n"):  # empty or incomplete, because the child died
                raise self._death()
            answer = json.loads(line)
            if "input_error" in answer:
                raise InputError(answer["input_error"])
            if "error" in answer:
                raise ChildError(answer["error"], self._printed(), raised=True)
            return answer["result"]

    def _exchange(self, request: str, timeout: float | None) -> tuple[str, bool]:
        """Sends a request, and returns the line of the response and whether the time limit passed.

        If the child dies, the line is empty or incomplete.
        """
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = None if timeout is None else threading.Timer(timeout, end)
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                self._requests.write(request + "\n")
                self._requests.flush()
            return self._answers.readline(), late.is_set()
        finally:
            if timer is not None:
                timer.cancel()

    def _death(self) -> ChildError:
        code = self._process.wait()
        if code >= 0:
            return ChildError(f"failed with exit code {code}", self._printed())
        name = signal.Signals(-code).name
        reason = f"crashed ({name})"
        if name == "SIGKILL":
            reason = "was killed (SIGKILL), most likely for lack of memory"
        return ChildError(reason, self._printed(), signal=name)

    def _printed(self) -> str:
        self._log.seek(self._start)
        return self._log.read().decode(errors="replace")


def child_environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Returns the environment variables of a child.

    This package comes first on the child's path, and TensorFlow logs errors only.

    Args:
        changes: Further changes. A value of None removes a variable.
    """
    root = str(Path(keras_distill.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    every = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "2", **(changes or {})}
    return {name: value for name, value in every.items() if value is not None}


NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}
"""Environment of a child that computes nothing on a GPU, and would only take its memory."""


def serving() -> bool:
    """Returns whether this process is a child that serves requests."""
    return _serving.is_set()


def main() -> None:
    """Serves requests in the child process until standard input ends."""
    # Ctrl-C reaches all processes of a terminal. Only the parent handles it, and ends its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _serving.set()
    service, memory = sys.argv[-2], int(sys.argv[-1])
    if memory:
        _limit_memory(memory)
    # Other output to standard output must not mix with the responses, so it goes to the log.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(os.dup(0), requests), daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    module, _, name = service.partition(":")
    target = getattr(importlib.import_module(module), name)()
    while True:
        method, arguments = json.loads(requests.get())
        try:
            answer = json.dumps({"result": getattr(target, method)(**arguments)})
        except InputError as error:
            answer = json.dumps({"input_error": str(error)})
        except MemoryError:
            answer = json.dumps({"error": "ran out of memory"})
        except Exception as error:  # any exception of the service is sent as the response
            answer = json.dumps({"error": f"{type(error).__name__}: {error}"})
        sys.stdout.flush()
        answers.write(answer + "\n")
        answers.flush()


def _read(file: int, requests: queue.SimpleQueue[bytes]) -> None:
    """Puts lines into the queue. At the end of the file, ends this process, even if it is busy."""
    rest = b""
    while chunk := os.read(file, 1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            requests.put(line)
    os._exit(1)


def _limit_memory(limit: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
