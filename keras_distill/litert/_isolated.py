"""Runs a `.tflite` file in a child process.

A damaged or malicious file can then crash only the child. The child imports NumPy and the
interpreter but not TensorFlow. It therefore starts in a fraction of a second, and its memory use is
that of the interpreter.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from typing_extensions import Self

from keras_distill._internal import InputError
from keras_distill._internal._child import Child, ChildError
from keras_distill._internal._machine import physical_memory
from keras_distill._internal._temporary import temporary_folder
from keras_distill._internal._types import Array
from keras_distill.litert._interpreter import LiteRTModel
from keras_distill.litert._parser import read_graph
from keras_distill.litert._tensors import TensorSpec, arrange
from keras_distill.litert._warm_up import warm_up

PROBE_SECONDS = 120.0

_SERVICE = "keras_distill.litert._isolated:Service"
# Operators that access a variable that the converter could not freeze.
_VARIABLES = frozenset({"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})


class IsolatedModel:
    """A `.tflite` file loaded in a child process.

    Use it as a context manager. Leaving the block ends the child.

    Args:
        path: The file.
        threads: The number of threads of the interpreter.
        reference: See `LiteRTModel`.
        timeout: The time limit of one request, in seconds.

    Attributes:
        path: The file.
        inputs: See `LiteRTModel`.
        outputs: See `LiteRTModel`.

    Raises:
        InputError: From any call, if the file cannot be loaded or run, crashes the child, or takes
            longer than `timeout`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int = 1,
        reference: bool = False,
        timeout: float = PROBE_SECONDS,
    ) -> None:
        self.path = Path(path)
        self._timeout = timeout
        # A damaged shape may request any amount of memory. More than the machine has fails at once.
        self._child = Child(_SERVICE, memory=physical_memory())
        try:
            facts = self._ask("load", path=str(path), threads=threads, reference=reference)
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
        self._child.close()

    def predict(
        self, x: Any, batch_size: int | None = None, *, raw: bool = False
    ) -> Array | dict[str, Array]:
        """Runs the file as `LiteRTModel.predict` does."""
        with temporary_folder() as folder:
            named = _save_rows(folder, x)
            self._ask("predict", folder=folder, named=named, batch_size=batch_size, raw=raw)
            with np.load(Path(folder, "y.npz")) as arrays:
                outputs = {spec.name: arrays[spec.name] for spec in self.outputs}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def arrange(self, x: Any) -> dict[str, Array]:
        """Checks and converts rows as `LiteRTModel.arrange` does, without the child."""
        return arrange(self.path, self.inputs, x)

    def order(self) -> tuple[list[str], list[str]]:
        """Returns the same as `LiteRTModel.order`."""
        inputs, outputs = self._ask("order")
        return inputs, outputs

    def delegated(self) -> list[int]:
        """Returns the same as `LiteRTModel.delegated`."""
        return self._ask("delegated")

    def run_on_zeros(self) -> None:
        """Runs the file once on zeros, to check that it runs."""
        self._ask("zeros")

    def cold_start(self, x: Any) -> tuple[float, int | None]:
        """Runs the first row of `x`, and keeps it for `time_call`. It must be the first call.

        Only one row is sent to the child, because more rows would increase its memory.

        Args:
            x: As for `LiteRTModel.predict`.

        Returns:
            The seconds that loading the file and this run take together, and the peak growth of the
            child's resident memory in bytes. The memory consists of the weights and the
            interpreter's arena; it is None on systems that do not report it.
        """
        first = {k: v[:1] for k, v in x.items()} if isinstance(x, Mapping) else x[:1]
        with temporary_folder() as folder:
            named = _save_rows(folder, first)
            answer = self._ask("cold", folder=folder, named=named)
        return answer["seconds"], answer["bytes"]

    def time_call(self, calls: int = 1) -> list[float]:
        """Returns the seconds of each of `calls` runs on the row of `cold_start`.

        One run that is not timed comes first.
        """
        return self._ask("time", calls=calls)["seconds"]

    def resize_batch(self, size: int) -> bool:
        """Changes the batch size as `LiteRTModel.resize_batch` does.

        If that succeeds, `time_call` runs on as many copies of the row of `cold_start`.
        """
        return self._ask("resize", size=size)["done"]

    def _ask(self, method: str, **arguments: Any) -> Any:
        """Calls a method of the child's `Service`; raises `InputError` if the child fails."""
        try:
            return self._child.ask(method, timeout=self._timeout, **arguments)
        except ChildError as error:
            text = f"{self.path}: the interpreter {error.reason}"
            if error.raised:
                text = f"{self.path}: the interpreter failed: {error.reason}"
            elif error.signal:
                text += "; the file is damaged or needs too much memory"
            elif not error.timed_out:
                text += f": {' '.join(error.log.split())[-300:]}"
            raise InputError(f"{text.rstrip('.')}.") from error


class Probe(NamedTuple):
    """The properties of a file that `probe` returns.

    Attributes:
        inputs: See `LiteRTModel`.
        outputs: See `LiteRTModel`.
        ops: See `Graph`.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ops: dict[str, int]


def probe(path: str | os.PathLike[str], *, timeout: float = PROBE_SECONDS) -> Probe:
    """Loads a file and runs it once on zeros, in a child process.

    Args:
        path: The file.
        timeout: The time limit of one request to the child, in seconds.

    Raises:
        InputError: If the path is not a `.tflite` file, or the file has Flex, custom, or variable
            operators, cannot be loaded or run, crashes the interpreter, or takes too long.
    """
    ops = _operators(path)
    with IsolatedModel(path, timeout=timeout) as model:
        model.run_on_zeros()
        return Probe(model.inputs, model.outputs, ops)


def probe_on(
    path: str | os.PathLike[str], x: Any, *, threads: int = 1, timeout: float = 3600.0
) -> tuple[Probe, dict[str, Array]]:
    """Combines `probe` and `predict_isolated` in one child process.

    Args:
        path: The file.
        x: As for `LiteRTModel.predict`.
        threads: The number of threads of the interpreter.
        timeout: The time limit of one request to the child, in seconds.

    Returns:
        The properties of the file, and its outputs on `x` by name.

    Raises:
        InputError: As for `probe`, and if `x` does not match the inputs.
    """
    ops = _operators(path)
    with IsolatedModel(path, threads=threads, timeout=timeout) as model:
        model.run_on_zeros()
        y = model.predict(x)
        found = Probe(model.inputs, model.outputs, ops)
    return found, y if isinstance(y, dict) else {found.outputs[0].name: y}


def _operators(path: str | os.PathLike[str]) -> dict[str, int]:
    """Returns the count of each operator; raises `InputError` if the file has variables."""
    ops = read_graph(path).ops
    if variables := sorted(_VARIABLES & set(ops)):
        raise InputError(
            f"{path}: has unfrozen variables ({', '.join(variables)}); their values are not in the"
            " file. Export it again."
        )
    return ops


def predict_isolated(
    path: str | os.PathLike[str],
    x: Any,
    batch_size: int | None = None,
    *,
    threads: int = 1,
    timeout: float = 3600.0,
) -> Array | dict[str, Array]:
    """Runs `LiteRTModel(path, threads=threads).predict(x, batch_size)` in a child process.

    Args:
        path: The file.
        x: As for `LiteRTModel.predict`.
        batch_size: As for `LiteRTModel.predict`.
        threads: The number of threads of the interpreter.
        timeout: The time limit of one request to the child, in seconds.

    Raises:
        InputError: As for `LiteRTModel` and its `predict`, and if the child crashes or takes too
            long.
    """
    with IsolatedModel(path, threads=threads, timeout=timeout) as model:
        return model.predict(x, batch_size)


def _spec(values: list[Any]) -> TensorSpec:
    name, shape, *rest = values
    return TensorSpec(name, tuple(shape), *rest)


def _save_rows(folder: str, x: Any) -> bool:
    """Writes `x` to `x.npz` in a folder, and returns whether `x` is a dict."""
    named = isinstance(x, Mapping)
    arrays: dict[str, Any] = (
        {k: np.asarray(a) for k, a in x.items()} if named else {"x": np.asarray(x)}
    )
    np.savez(Path(folder, "x.npz"), **arrays)
    return named


def _load_rows(folder: str, named: bool) -> Any:
    with np.load(Path(folder, "x.npz")) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays if named else arrays["x"]


class Service:
    """Serves the requests in the child process, with one method per request."""

    def load(self, path: str, threads: int, reference: bool) -> dict[str, Any]:
        warm_up(threads)  # not part of the time to open this file
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        before = _resident("VmRSS")
        start = time.perf_counter()
        self.model = LiteRTModel(path, threads=threads, reference=reference)
        self._opened = (time.perf_counter() - start, before)
        return {"inputs": self.model.inputs, "outputs": self.model.outputs}

    def zeros(self) -> dict[str, Any]:
        specs = self.model.inputs
        self.model.predict({s.name: np.zeros([n or 1 for n in s.shape], s.dtype) for s in specs})
        return {}

    def order(self) -> tuple[list[str], list[str]]:
        return self.model.order()

    def delegated(self) -> list[int]:
        return self.model.delegated()

    def predict(
        self, folder: str, named: bool, batch_size: int | None, raw: bool
    ) -> dict[str, Any]:
        y = self.model.predict(_load_rows(folder, named), batch_size, raw=raw)
        outputs: dict[str, Any] = y if isinstance(y, dict) else {self.model.outputs[0].name: y}
        np.savez(Path(folder, "y.npz"), **outputs)
        return {}

    def cold(self, folder: str, named: bool) -> dict[str, Any]:
        opening, before = self._opened
        self._row = self.model.arrange(_load_rows(folder, named))
        start = time.perf_counter()
        self.model.call(self._row)
        seconds = opening + time.perf_counter() - start
        peak = _resident("VmHWM")
        added = None if peak is None or before is None else peak - before
        return {"seconds": seconds, "bytes": added}

    def time(self, calls: int) -> dict[str, Any]:
        self.model.call(self._row)
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            self.model.call(self._row)
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}

    def resize(self, size: int) -> dict[str, Any]:
        done = self.model.resize_batch(size)
        if done:
            self._row = {k: np.repeat(a[:1], size, axis=0) for k, a in self._row.items()}
        return {"done": done}


def _resident(field: str) -> int | None:
    """Returns VmRSS or VmHWM of this process in bytes; getrusage may include the parent's peak."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return None
