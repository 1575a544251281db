"""Runs runtimes and compilers in a child process, because a file may crash them."""

import os
import runpy
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill._internal._types import Array

_STEP, _TRIES = 256, 64  # bytes; maximum number of attempts with a larger arena


class MicroService:
    """Runs a file in TensorFlow Lite for Microcontrollers."""

    def load(self, path: str, arena: int) -> dict[str, Any]:
        self._path = path
        self._interpreter = _interpreter(path, arena)
        return {}

    def predict(self, folder: str, inputs: int, outputs: int, batch: int) -> dict[str, Any]:
        """Runs all rows of x0.npy, x1.npy, … and writes the outputs y0.npy, y1.npy, …"""
        rows = [np.load(Path(folder, f"x{i}.npy")) for i in range(inputs)]
        results: list[list[Array]] = [[] for _ in range(outputs)]
        for start in range(0, len(rows[0]), batch):
            for i, values in enumerate(rows):
                self._interpreter.set_input(values[start : start + batch], i)
            self._interpreter.invoke()
            for i, found in enumerate(results):
                found.append(np.array(self._interpreter.get_output(i)))
        for i, found in enumerate(results):
            np.save(Path(folder, f"y{i}.npy"), np.concatenate(found))
        return {}

    def allocations(self) -> dict[str, int]:
        """Returns the bytes of total, head, and tail, which the runtime only prints."""
        with _printed() as lines:
            self._interpreter.print_allocations()
        words = [line.split() for line in lines if "Arena allocation" in line]
        return {name: int(count) for *_, name, count, _ in words}

    def needed(self, at_least: int) -> dict[str, int | None]:
        """Returns the smallest arena, of at least `at_least` bytes, in which the file runs.

        Each size is tried in its own process, because a too small arena may crash it.
        """
        size = -(-at_least // 16) * 16
        for _ in range(_TRIES):
            if _runs_with(self._path, size):
                return {"bytes": size}
            size += _STEP
        return {"bytes": None}


def _interpreter(path: str, arena: int) -> Any:
    from tflite_micro.python.tflite_micro import runtime

    return runtime.Interpreter.from_file(path, arena_size=arena)


def _runs_with(path: str, arena: int) -> bool:
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            _interpreter(path, arena).invoke()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(process, 0)[1] == 0


@contextmanager
def _printed() -> Iterator[list[str]]:
    """Collects the standard error of C++ code in the block. The list is filled at the end."""
    lines: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            log.seek(0)
            lines += log.read().decode(errors="replace").splitlines()


class VelaService:
    """Runs the `vela` command in this process."""

    def compile(self, arguments: list[str]) -> dict[str, Any]:
        sys.argv = ["vela", *arguments]
        try:
            runpy.run_module("ethosu.vela", run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(f"Vela ended with {ended.code}") from ended
        return {}
