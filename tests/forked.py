"""Starts processes of the command line by forking one that has imported TensorFlow.

A process that imports TensorFlow takes seconds; a fork of one takes a hundredth of that. It has a
process id, files, environment, limits, signals, and an end of its own, as any other process of the
command line.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux: orphans of this process become its children


class Forked:
    """A process of the command line, with the methods of `subprocess.Popen` that trials use.

    Args:
        pid: Its process id; it is a child of this process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None
        self.seconds = 0.0  # of processor time, with its children, once it has ended

    def poll(self) -> int | None:
        """Returns its exit code, -n after signal n; None while it runs."""
        if self._code is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
                self.seconds = usage.ru_utime + usage.ru_stime
        return self._code

    def wait(self, timeout: float) -> int:
        """Waits for its end; raises `subprocess.TimeoutExpired` after so many seconds."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.02)
        return code

    def send_signal(self, number: int) -> None:
        """Sends it a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it and all of its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class ForkServer:
    """The process that is forked. Use it as a context manager."""

    def __enter__(self) -> "ForkServer":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._server.kill()
        self._server.wait()

    def start(
        self, argv: list[str], out: Path, err: Path, tmp: Path, memory: int | None = None
    ) -> Forked:
        """Starts `keras-distill` with `argv`.

        Args:
            argv: Its arguments.
            out: The file of its stdout.
            err: The file of its stderr.
            tmp: The folder of its temporary files.
            memory: The size of the address space that it may have, as `ulimit -v`, in bytes more
                than the forked process has.
        """
        assert self._server.stdin and self._server.stdout
        request = {"argv": argv, "out": str(out), "err": str(err), "tmp": str(tmp)}
        self._server.stdin.write(json.dumps(request | {"memory": memory}) + "\n")
        self._server.stdin.flush()
        return Forked(int(self._server.stdout.readline()))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _fork_twice() -> int:
    """Returns 0 in a grandchild, whose parent has ended, and its process id in this process."""
    reading, writing = os.pipe()
    if (middle := os.fork()) == 0:
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os.close(writing)
            return 0
        os.write(writing, str(pid).encode())
        os._exit(0)
    os.waitpid(middle, 0)
    pid = int(os.read(reading, 20))
    os.close(reading)
    os.close(writing)
    return pid


def _become(request: dict[str, Any]) -> None:
    """Turns a fork into what a shell would have started."""
    os.setsid()
    for number, path in enumerate((os.devnull, request["out"], request["err"])):
        file = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0)  # the old one has read ahead
    os.environ["TMPDIR"] = request["tmp"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["memory"]:
        limit = _address_space() + request["memory"]
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.argv = ["keras-distill", *request["argv"]]


def _serve() -> None:
    """Forks for every request; returns in the forks, and ends with the requests."""
    importlib.import_module("keras_distill.cli")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as the command line does
    for name in ("benchmarks", "export", "runs", "specialists"):  # they import the rest
        importlib.import_module(f"keras_distill.{name}")
    gc.freeze()  # a fork that ends does not copy what it never used
    out = os.fdopen(os.dup(1), "w")
    for line in iter(sys.stdin.readline, ""):
        if (pid := _fork_twice()) == 0:
            out.close()
            _become(json.loads(line))
            return
        out.write(f"{pid}\n")
        out.flush()
    os._exit(0)


if __name__ == "__main__":
    _serve()
    runpy.run_module("keras_distill", run_name="__main__", alter_sys=False)
