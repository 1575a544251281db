"""Runs a `.tflite` file in this process with the LiteRT interpreter.

A damaged or malicious file can crash the process that runs it. `_isolated` runs a file in a child
process instead.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill._internal import InputError, _child, check_batch_size, check_count
from keras_distill._internal._checks import MAX_THREADS
from keras_distill._internal._stderr import held_stderr
from keras_distill._internal._types import Array, Shape
from keras_distill.litert._parser import check_mark, read_graph
from keras_distill.litert._tail import Tail, with_logits
from keras_distill.litert._tensors import TensorSpec, arrange, dequantize, spec_of

DYNAMIC_BATCH = 64  # rows per invocation of a file with a dynamic batch


def _is_no_note(line: bytes) -> bool:
    """Returns whether a line of LiteRT's log is not an INFO line, such as the delegate's note."""
    return not line.startswith(b"INFO: ")


def _one_line(error: Exception) -> str:
    """Returns the message of an interpreter error as one line of at most 300 characters."""
    return " ".join(str(error).split())[:300]


class LiteRTModel:
    """A loaded `.tflite` file. Inputs and outputs are real values in every precision.

    Args:
        path: The file.
        threads: The number of threads of the interpreter.
        logits: Whether to return the logits of outputs that end in a softmax or sigmoid, instead of
            its probabilities.
        reference: Whether to compute everything with LiteRT's unoptimized reference kernels and
            without a delegate.

    Attributes:
        path: The file.
        inputs: The inputs of the file.
        outputs: The outputs of the file, in the order of its signature. Without a signature, in
            the order of the graph.
        heads: "softmax" or "sigmoid", by the name of each output that is returned as logits.

    Raises:
        InputError: If the path is not a `.tflite` file, or the file is damaged, has custom or Flex
            operators, or has no input or output.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "notes.tflite"
        >>> _ = path.write_text("a text, renamed")
        >>> LiteRTModel(path)
        Traceback (most recent call last):
        keras_distill.InputError: ...notes.tflite: not a .tflite file (it has no TFL3 mark).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int = 1,
        logits: bool = False,
        reference: bool = False,
    ) -> None:
        self.path = Path(path)
        self._reference = reference
        self._content: bytes | None = None
        self._tails: dict[str, Tail] = {}
        self.heads: dict[str, str] = {}
        self._inputs: dict[Any, Any] = {}
        self._outputs: dict[Any, Any] = {}
        self._threads = check_count("threads", threads, at_most=MAX_THREADS)
        check_mark(self.path)
        self._lock = threading.Lock()
        self._load()
        if logits:
            self._read_logits()
        self.inputs = tuple(spec_of(name, d) for name, d in self._inputs.items())
        self.outputs = tuple(self._output_spec(name, d) for name, d in self._outputs.items())
        self._batch = self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else None

    def __repr__(self) -> str:
        shown = [
            ", ".join(f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in specs)
            for specs in (self.inputs, self.outputs)
        ]
        return f"LiteRTModel({str(self.path)!r}, {shown[0]} -> {shown[1]})"

    def _load(self) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kernels = OpResolverType.BUILTIN_REF if self._reference else OpResolverType.AUTO
        try:
            source: dict[str, Any] = {"model_path": str(self.path)}
            if self._content is not None:
                source = {"model_content": self._content}
            # In a child process, standard error is the log. It is not held back there, so that a
            # crash loses no line.
            with contextlib.nullcontext() if _child.serving() else held_stderr(_is_no_note):
                self._interpreter: Any = Interpreter(
                    **source,
                    num_threads=self._threads,
                    experimental_op_resolver_type=kernels,
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

    def _read_logits(self) -> None:
        """Loads the file again with logits as outputs in place of probabilities."""
        changed = with_logits(read_graph(self.path))
        if changed.content is None:
            return
        by_tensor = {tail.output: tail for tail in changed.tails}
        before, self._content = self._outputs, changed.content
        self._load()
        if len(self._outputs) < len(before):  # two outputs now have the name of the same tensor
            self._content = None
            self._load()
            return
        # Without a signature, an output has the name of its tensor, which is now another one.
        self._outputs = dict(zip(before, self._outputs.values(), strict=True))
        for name, detail in before.items():
            if tail := by_tensor.get(detail["index"]):
                self._tails[name], self.heads[name] = tail, tail.kind
        self._probabilities = {name: spec_of(name, d) for name, d in before.items()}

    def _output_spec(self, name: str, detail: dict[str, Any]) -> TensorSpec:
        """Returns the spec of an output. Logits get the shape of the probabilities."""
        spec = spec_of(name, detail)
        return spec._replace(shape=self._probabilities[name].shape) if name in self._tails else spec

    @functools.cached_property
    def ops(self) -> dict[str, int]:
        """How often each operator occurs, most frequent first."""
        return read_graph(self.path).ops

    def resize_batch(self, size: int) -> bool:
        """Changes the batch size of the loaded file, if its graph allows it.

        Args:
            size: The number of rows per invocation from now on.

        Returns:
            Whether the batch size was changed. If not, the file runs as it did when it was loaded.

        Raises:
            InputError: If `size` is not a valid batch size.
        """
        check_batch_size(size)
        try:
            self._shape({spec.name: (size, *spec.shape[1:]) for spec in self.inputs})
            if all(len(d["shape"]) and d["shape"][0] == size for d in self._output_details()):
                self._batch = size
                return True
        except (ValueError, RuntimeError, TypeError):
            pass  # the graph reshapes to a constant batch size, or a shape contains None
        self._load()
        return False

    def predict(
        self, x: Any, batch_size: int | None = None, *, raw: bool = False
    ) -> Array | dict[str, Array]:
        """Runs the file on all of `x`.

        For a quantized input, pass real values, which are quantized here, or raw pixels (see
        `takes_pixels`). An array that already has the integer dtype of the input is used unchanged.
        Quantized outputs are returned as real float32 values.

        Args:
            x: The rows `(n, …)`, or a dict of rows by input name. A file with several inputs
                requires a dict, because the file does not keep the order of the model's inputs.
            batch_size: The number of rows per invocation of a file with a dynamic batch size
                (default 64). A file with a fixed batch size uses that size: the last batch is
                padded, and the outputs of the padding are removed.
            raw: Whether to return quantized outputs as integers.

        Returns:
            The output `(n, …)`, or a dict by output name if there are several.

        Raises:
            InputError: If `x` does not match the inputs, `batch_size` is not valid, or the
                interpreter fails.
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
                parts.append(self._invoke(chunk, pad_to=self._batch, raw=raw))
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def arrange(self, x: Any) -> dict[str, Array]:
        """Checks `x` and converts it to arrays by input name, in the dtype of each input.

        Args:
            x: As for `predict`.

        Raises:
            InputError: If `x` does not match the inputs.
        """
        return arrange(self.path, self.inputs, x)

    def call(self, rows: Mapping[str, Array]) -> None:
        """Runs the interpreter once on rows from `arrange`, and does not read the outputs.

        The call sets the inputs and runs the graph. Latency is measured on this call.

        Args:
            rows: The rows of one batch, by input name. If the batch size differs from that of the
                file, the inputs are resized.

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

    def order(self) -> tuple[list[str], list[str]]:
        """Returns the names of the inputs and of the outputs, in the order of the graph.

        Other runtimes identify inputs and outputs by this order. A signature sorts them by name.
        """
        names = [
            {d["index"]: n for n, d in every.items()} for every in (self._inputs, self._outputs)
        ]
        graph = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        inputs, outputs = (
            [by[d["index"]] for d in details if d["index"] in by]
            for by, details in zip(names, graph, strict=True)
        )
        return inputs, outputs

    def delegated(self) -> list[int]:
        """Returns the positions of the main graph's operators that the delegate executes.

        On a CPU, LiteRT's default delegate is XNNPACK. Each set of operators that it executes is
        replaced by one node that is not in the file. This method finds these operators by following
        the graph from the outputs of the node back to its inputs.
        """
        nodes: list[dict[str, Any]] = self._interpreter._get_ops_details()
        main = read_graph(self.path).subgraphs[0].ops
        own, added = nodes[: len(main)], nodes[len(main) :]
        makers = {int(t): place for place, node in enumerate(own) for t in node["outputs"]}
        taken: set[int] = set()
        for node in added:
            outside, ways = set(map(int, node["inputs"])), [int(t) for t in node["outputs"]]
            while ways:
                tensor = ways.pop()
                place = None if tensor in outside else makers.get(tensor)
                if place is not None and place not in taken:
                    taken.add(place)
                    ways += [int(t) for t in own[place]["inputs"]]
        return sorted(taken)

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

    def _invoke(self, chunk: dict[str, Array], pad_to: int | None, raw: bool) -> dict[str, Array]:
        rows = len(next(iter(chunk.values())))
        if pad_to is not None and rows < pad_to:
            chunk = {k: np.resize(v, (pad_to, *v.shape[1:])) for k, v in chunk.items()}
        self.call(chunk)
        outputs = {}
        for spec in self.outputs:
            values = self._interpreter.get_tensor(self._outputs[spec.name]["index"])
            values = np.array(values) if raw else dequantize(values, spec)
            if tail := self._tails.get(spec.name):
                values = _shaped(values, spec.shape) * np.float32(tail.scale)
            outputs[spec.name] = values[:rows]
        return outputs


def _shaped(values: Array, shape: Shape) -> Array:
    """Reshapes logits to the shape of the probabilities, from which they may differ."""
    sizes = [n for n in shape[1:] if n is not None]
    return values.reshape(-1, *sizes) if len(sizes) == len(shape) - 1 else values
