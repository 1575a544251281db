"""The LiteRT interpreter: runs a `.tflite` file in this process.

A damaged or hostile file can crash the process that runs it; `_isolated` runs one in a child
process.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_distill._internal import InputError, _child, bad, check_batch_size, check_count
from keras_distill._internal._checks import MAX_THREADS
from keras_distill._internal._stderr import held_stderr
from keras_distill._internal._types import Array
from keras_distill.litert._parser import check_mark, read_graph

DYNAMIC_BATCH = 64  # rows per invocation of a file with a dynamic batch


class TensorSpec(NamedTuple):
    """One input or output of a file.

    Attributes:
        name: Its name in the signature; in a file without one, the tensor's own name.
        shape: Sizes; None for a size that is not fixed.
        dtype: NumPy name: "float32", "int8", …
        scale: Real value per step: real = scale · (q - zero_point); None if not quantized.
        zero_point: The integer that means 0.0; None if `scale` is None.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


def _is_no_note(line: bytes) -> bool:
    """Returns whether a line of LiteRT's log is more than a note on its delegate."""
    return not line.startswith(b"INFO: ")


def _one_line(error: Exception) -> str:
    """Puts an interpreter's message on one line of at most 300 characters."""
    return " ".join(str(error).split())[:300]


class LiteRTModel:
    """A loaded `.tflite` file. Takes and returns real values, whatever its precision.

    Args:
        path: The file.
        threads: Threads of the interpreter.

    Attributes:
        path: The file.
        inputs: Its inputs.
        outputs: Its outputs, in the order of the file.

    Raises:
        InputError: If it is not a `.tflite` file, is damaged, or has custom or Flex operators.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "notes.tflite"
        >>> _ = path.write_text("a text, renamed")
        >>> LiteRTModel(path)
        Traceback (most recent call last):
        keras_distill.InputError: ...notes.tflite: not a .tflite file (it has no TFL3 mark).
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 1) -> None:
        self.path = Path(path)
        self._inputs: dict[Any, Any] = {}
        self._outputs: dict[Any, Any] = {}
        self._threads = check_count("threads", threads, at_most=MAX_THREADS)
        check_mark(self.path)
        self._lock = threading.Lock()
        self._load()
        self.inputs = tuple(_spec(name, d) for name, d in self._inputs.items())
        self.outputs = tuple(_spec(name, d) for name, d in self._outputs.items())
        self._batch = self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else None

    def _load(self) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:
            # A child's standard error is its log, of which a crash must not lose a line.
            with contextlib.nullcontext() if _child.serving() else held_stderr(_is_no_note):
                self._interpreter: Any = Interpreter(
                    model_path=str(self.path), num_threads=self._threads
                )
                self._interpreter.allocate_tensors()
            signatures = self._interpreter.get_signature_list()
            if len(signatures) == 1:
                runner: Any = self._interpreter.get_signature_runner(next(iter(signatures)))
                self._inputs = dict(runner.get_input_details())
                self._outputs = dict(runner.get_output_details())
            else:
                self._inputs = {d["name"]: d for d in self._interpreter.get_input_details()}
                self._outputs = {d["name"]: d for d in self._interpreter.get_output_details()}
        except (ValueError, RuntimeError, MemoryError) as error:
            foreign = read_graph(self.path).custom_ops
            if foreign:
                raise InputError(
                    f"{self.path}: has operators that LiteRT does not know: {', '.join(foreign)}."
                    " Build the model from layers that convert to TFLite builtins."
                ) from error
            raise InputError(f"{self.path}: LiteRT cannot load it: {_one_line(error)}") from error

        if not self._inputs or not self._outputs:
            raise InputError(f"{self.path}: has no input or no output.")

    @functools.cached_property
    def ops(self) -> dict[str, int]:
        """How often each operator occurs, most frequent first."""
        return read_graph(self.path).ops

    def resize_batch(self, size: int) -> bool:
        """Sets the batch size, also of a file made for another one, if its graph allows it.

        Args:
            size: Rows per invocation from now on.

        Returns:
            Whether it worked; if not, the file runs as before.
        """
        check_batch_size(size)
        try:
            self._shape({spec.name: (size, *spec.shape[1:]) for spec in self.inputs})
            if all(len(d["shape"]) and d["shape"][0] == size for d in self._output_details()):
                self._batch = size
                return True
        except (ValueError, RuntimeError, TypeError):
            pass  # a graph with a reshape to a constant batch; None in a shape
        self._load()
        return False

    def predict(self, x: Any, batch_size: int | None = None) -> Array | dict[str, Array]:
        """Runs the file on all of `x`.

        An integer input with a scale takes real values, which are quantized here. An array of the
        input's own integer dtype is used as it is (raw uint8 pixels for a uint8 file). Quantized
        outputs are returned as real float32 values.

        Args:
            x: `(n, …)`, or a dict by input name, which a file with several inputs requires: a file
                does not keep the order of the model's inputs.
            batch_size: Rows per invocation of a file with a dynamic batch (default 64). A file
                with a fixed batch uses its own size; the last batch is padded and cut.

        Returns:
            The output `(n, …)`, or a dict by output name if there are several.

        Raises:
            InputError: If `x` does not fit the inputs, or the interpreter fails on it.
        """
        arrays = self.arrange(x)
        rows = len(next(iter(arrays.values())))
        size = self._batch or (
            DYNAMIC_BATCH if batch_size is None else check_batch_size(batch_size)
        )
        parts = []
        with self._lock:
            for start in range(0, rows, size):
                chunk = {name: a[start : start + size] for name, a in arrays.items()}
                parts.append(self._invoke(chunk, pad_to=self._batch))
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def arrange(self, x: Any) -> dict[str, Array]:
        """Checks `x` and converts it to arrays by input name, in the dtype of each input.

        Args:
            x: As for `predict`.

        Raises:
            InputError: If `x` does not fit the inputs.
        """
        names = [spec.name for spec in self.inputs]
        if isinstance(x, Mapping):
            given = dict(x)
        elif len(names) == 1:
            given = {names[0]: x}
        else:
            raise InputError(
                f"{self.path} has several inputs ({names}), whose order is not that of the model."
                " Pass a dict by input name."
            )
        if set(given) != set(names):
            raise InputError(f"{self.path} takes the inputs {names}. Received: {sorted(given)}")
        arrays = {spec.name: _quantize(np.asarray(given[spec.name]), spec) for spec in self.inputs}
        rows = {len(a) for a in arrays.values()}
        if len(rows) != 1 or rows == {0}:
            raise InputError(f"Inputs need one length >= 1. Received lengths: {sorted(rows)}")
        return arrays

    def call(self, rows: Mapping[str, Array]) -> None:
        """Runs the interpreter once on rows that `arrange` made; does not read the outputs.

        A latency measurement times this call: it sets the inputs and runs the graph.

        Args:
            rows: As many as the file's batch, by input name.

        Raises:
            InputError: If the interpreter fails.
        """
        try:
            self._shape({name: a.shape for name, a in rows.items()})
            for name, a in rows.items():
                self._interpreter.set_tensor(self._inputs[name]["index"], a)
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{self.path}: LiteRT cannot run it: {_one_line(error)}") from error

    def _shape(self, shapes: Mapping[str, Sequence[int | None]]) -> None:
        changed = False
        for name, shape in shapes.items():
            detail = self._inputs[name]
            if tuple(detail["shape"]) != tuple(shape):
                self._interpreter.resize_tensor_input(detail["index"], list(shape))
                detail["shape"] = np.asarray(shape)
                changed = True
        if changed:
            self._interpreter.allocate_tensors()

    def _output_details(self) -> list[dict[str, Any]]:
        by_index = {d["index"]: d for d in self._interpreter.get_output_details()}
        return [by_index[d["index"]] for d in self._outputs.values()]

    def _invoke(self, chunk: dict[str, Array], pad_to: int | None) -> dict[str, Array]:
        rows = len(next(iter(chunk.values())))
        if pad_to is not None and rows < pad_to:
            chunk = {k: np.resize(v, (pad_to, *v.shape[1:])) for k, v in chunk.items()}
        self.call(chunk)
        outputs = {}
        for spec in self.outputs:
            values = self._interpreter.get_tensor(self._outputs[spec.name]["index"])
            outputs[spec.name] = _dequantize(values, spec)[:rows]
        return outputs


def _spec(name: str, detail: dict[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    shape = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
    quantized = bool(scale)
    return TensorSpec(
        name=name,
        shape=tuple(int(n) if n >= 0 else None for n in shape),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scale) if quantized else None,
        zero_point=int(zero_point) if quantized else None,
    )


def _quantize(x: Array, spec: TensorSpec) -> Array:
    wanted = spec.shape
    fits = x.ndim == len(wanted) >= 1 and all(
        b is None or a == b for a, b in zip(x.shape[1:], wanted[1:], strict=True)
    )
    if not fits or x.dtype.kind not in "fiub":
        raise bad(
            spec.name,
            f"be an array of numbers of shape (n, {', '.join(map(str, wanted[1:]))})",
            f"{x.dtype} {x.shape}",
        )
    dtype = np.dtype(spec.dtype)
    if spec.scale is None or x.dtype == dtype:
        return np.ascontiguousarray(x, dtype)
    limits = np.iinfo(dtype)
    q = np.round(x.astype(np.float64) / spec.scale) + (spec.zero_point or 0)
    return np.clip(np.nan_to_num(q), limits.min, limits.max).astype(dtype)


def _dequantize(y: Array, spec: TensorSpec) -> Array:
    if spec.scale is not None:
        return np.float32(spec.scale) * (y.astype(np.float32) - np.float32(spec.zero_point))
    return y.astype(np.float32) if y.dtype.kind == "f" else np.array(y)
