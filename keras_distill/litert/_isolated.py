"""Runs a `.tflite` file in a child process, which a damaged or hostile file may kill.

The child is this very module (`python -m keras_distill.litert._isolated`). It imports NumPy and the
interpreter and nothing else, so that it starts in a quarter of a second and its memory is the
interpreter's. It answers requests, one JSON line each, until its standard input ends.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from typing_extensions import Self

import keras_distill
from keras_distill._internal import InputError
from keras_distill.litert._interpreter import LiteRTModel, TensorSpec, read_ops

PROBE_SECONDS = 120.0

# Operators by which the converter reads a variable that it could not freeze.
_VARIABLES = frozenset({"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})


def environment() -> dict[str, str]:
    """The environment of a child process: this very package first on its path, TensorFlow quiet."""
    root = str(Path(keras_distill.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "2"}


class Worker:
    """A child process with one file loaded.

    Use as a context manager; leaving it ends the child.

    Args:
        path: The file.
        threads: Threads of the interpreter.
        timeout: Seconds that one request may take.

    Attributes:
        inputs: As of `LiteRTModel`.
        outputs: Likewise.

    Raises:
        InputError: From any call: if the file cannot be loaded or run, kills the child, or hangs.
    """

    def __init__(
        self, path: str | os.PathLike, *, threads: int = 1, timeout: float = PROBE_SECONDS
    ) -> None:
        self.path = Path(path)
        self._timeout = timeout
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
        self._child = subprocess.Popen(
            [sys.executable, "-m", "keras_distill.litert._isolated"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment(),
        )
        try:
            facts = self._ask(do="load", path=str(path), threads=threads)
        except BaseException:
            self.close()
            raise
        self.inputs = tuple(_spec(s) for s in facts["inputs"])
        self.outputs = tuple(_spec(s) for s in facts["outputs"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child."""
        self._child.kill()
        self._child.communicate()
        self._log.close()

    def predict(self, x: Any, batch_size: int | None = None) -> np.ndarray | dict[str, np.ndarray]:
        """As `LiteRTModel.predict`."""
        with tempfile.TemporaryDirectory(prefix="keras-distill-") as folder:
            named = _save_rows(folder, x)
            self._ask(do="predict", folder=folder, named=named, batch_size=batch_size)
            with np.load(Path(folder, "y.npz")) as arrays:
                outputs = {spec.name: arrays[spec.name] for spec in self.outputs}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def run_on_zeros(self) -> None:
        """One call; whether it goes well is the answer."""
        self._ask(do="zeros")

    def cold_start(self, x: Any) -> tuple[float, int | None]:
        """Runs the first row of `x`, and keeps it for `time_call`. It is the first call to make.

        Returns:
            Seconds from opening the file to the end of this call, and the bytes that both added to
            the resident memory of the child at its peak (None where the system does not tell).
        """
        with tempfile.TemporaryDirectory(prefix="keras-distill-") as folder:
            named = _save_rows(folder, x)
            answer = self._ask(do="cold", folder=folder, named=named)
        return answer["seconds"], answer["bytes"]

    def time_call(self, calls: int = 1) -> list[float]:
        """Seconds of each of `calls` calls on the row kept, after one that is not timed."""
        return self._ask(do="time", calls=calls)["seconds"]

    def resize_batch(self, size: int) -> bool:
        """As `LiteRTModel.resize_batch`; the row kept is repeated to fill the batch."""
        return self._ask(do="resize", size=size)["done"]

    def _ask(self, **request: Any) -> dict:
        """Sends one request; a child that dies or hangs over it becomes an `InputError`."""
        hung = threading.Event()

        def end() -> None:
            hung.set()
            self._child.kill()

        timer = threading.Timer(self._timeout, end)
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.write(json.dumps(request) + "\n")
                self._child.stdin.flush()
            line = self._child.stdout.readline()
        finally:
            timer.cancel()
        if hung.is_set():
            raise InputError(f"{self.path}: the interpreter hung for {self._timeout:g} s.")
        if not line:
            raise InputError(f"{self.path}: {self._death()}")
        answer = json.loads(line)
        if "error" in answer:
            raise InputError(answer["error"])
        return answer

    def _death(self) -> str:
        code = self._child.wait()
        if code < 0:
            name = signal.Signals(-code).name
            return f"kills the interpreter ({name}); the file is damaged or needs too much memory."
        self._log.seek(0)
        text = " ".join(self._log.read().decode(errors="replace").split())
        return f"the interpreter failed: {text[-300:]}"


class Probe(NamedTuple):
    """What a child process found when it loaded a file and ran it once on zeros."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ops: dict[str, int]


def check_frozen(path: str | os.PathLike) -> None:
    """Refuses a file with variables that are not in it.

    Raises:
        InputError: If there are any.
    """
    variables = sorted(_VARIABLES & set(read_ops(path)))
    if variables:
        raise InputError(
            f"{path}: has unfrozen variables ({', '.join(variables)}); their values are not in the"
            " file. Export it again."
        )


def probe(path: str | os.PathLike, *, timeout: float = PROBE_SECONDS) -> Probe:
    """Loads and runs a file once, on zeros, in a child process.

    Args:
        path: The file.
        timeout: Seconds until the child is ended.

    Raises:
        InputError: If it is no `.tflite` file; has Flex, custom or variable operators; cannot be
            loaded or run; or kills the interpreter.
    """
    ops = read_ops(path)
    check_frozen(path)
    with Worker(path, timeout=timeout) as worker:
        worker.run_on_zeros()
        return Probe(worker.inputs, worker.outputs, ops)


def predict(
    path: str | os.PathLike,
    x: Any,
    batch_size: int | None = None,
    *,
    threads: int = 1,
    timeout: float = 3600.0,
) -> np.ndarray | dict[str, np.ndarray]:
    """`LiteRTModel(path, threads=threads).predict(x, batch_size)` in a child process.

    Args:
        path: The file.
        x: As for `LiteRTModel.predict`.
        batch_size: As there.
        threads: Threads of the interpreter.
        timeout: Seconds until the child is ended.

    Raises:
        InputError: As `LiteRTModel`, and if the child dies or hangs.
    """
    with Worker(path, threads=threads, timeout=timeout) as worker:
        return worker.predict(x, batch_size)


def _spec(values: list) -> TensorSpec:
    name, shape, *rest = values
    return TensorSpec(name, tuple(shape), *rest)


def _save_rows(folder: str, x: Any) -> bool:
    """Writes `x` to x.npz; returns whether it goes by name."""
    named = isinstance(x, Mapping)
    arrays = {k: np.asarray(a) for k, a in x.items()} if named else {"x": np.asarray(x)}
    np.savez(Path(folder, "x.npz"), **arrays)
    return named


def _load_rows(folder: str, named: bool) -> Any:
    with np.load(Path(folder, "x.npz")) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays if named else arrays["x"]


class _Server:
    """The child's side: one method for each request."""

    def load(self, path: str, threads: int) -> dict:
        importlib.import_module("ai_edge_litert.interpreter")  # not part of opening a file
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = _resident("VmRSS")
        start = time.perf_counter()
        self.model = LiteRTModel(path, threads=threads)
        self._opened = (time.perf_counter() - start, before)
        return {"inputs": self.model.inputs, "outputs": self.model.outputs}

    def zeros(self) -> dict:
        specs = self.model.inputs
        self.model.predict({s.name: np.zeros([n or 1 for n in s.shape], s.dtype) for s in specs})
        return {}

    def predict(self, folder: str, named: bool, batch_size: int | None) -> dict:
        y = self.model.predict(_load_rows(folder, named), batch_size)
        outputs = y if isinstance(y, dict) else {self.model.outputs[0].name: y}
        np.savez(Path(folder, "y.npz"), **outputs)
        return {}

    def cold(self, folder: str, named: bool) -> dict:
        opening, before = self._opened
        rows = self.model.arrange(_load_rows(folder, named))
        self._row = {name: a[:1] for name, a in rows.items()}
        start = time.perf_counter()
        self.model.call(self._row)
        seconds = opening + time.perf_counter() - start
        peak = _resident("VmHWM")
        return {"seconds": seconds, "bytes": None if peak is None else peak - before}

    def time(self, calls: int) -> dict:
        self.model.call(self._row)
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            self.model.call(self._row)
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}

    def resize(self, size: int) -> dict:
        done = self.model.resize_batch(size)
        if done:
            self._row = {k: np.repeat(a[:1], size, axis=0) for k, a in self._row.items()}
        return {"done": done}


def _resident(field: str) -> int | None:
    """VmRSS or VmHWM of this process in bytes; unlike getrusage, not inherited from the parent."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return None


def _limit_memory() -> None:
    """A damaged shape may ask for any amount: more than the machine has is refused at once."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        resource.setrlimit(resource.RLIMIT_AS, (total, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _serve() -> None:
    _limit_memory()
    # Whatever else writes to standard output must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    server = _Server()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(server, request.pop("do"))(**request)
        except InputError as error:
            answer = {"error": str(error)}
        except MemoryError:
            answer = {"error": f"{server.model.path}: needs more memory than there is."}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
