"""Runs a `.tflite` file in TensorFlow Lite for Microcontrollers and compares it with LiteRT."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill._internal import InputError, require_extra
from keras_distill._internal._child import Child, ChildError
from keras_distill._internal._device_targets import TFLM
from keras_distill._internal._machine import physical_memory
from keras_distill._internal._temporary import temporary_folder
from keras_distill._internal._types import Array
from keras_distill.litert import Graph, IsolatedModel, TensorSpec, read_graph
from keras_distill.records import ArenaRecord, DeviceOutput, DifferenceRecord, TFLMResult

_SERVICE = "keras_distill.device._services:MicroService"
_SECONDS = 600.0
_SPARE = 1 << 16  # bytes of an arena in addition to the tensors, and per operator
_PER_OP = 1 << 12
_LARGEST = 1 << 30


def run_on_microcontroller(path: Path, x: Array | Mapping[str, Array]) -> TFLMResult:
    """Runs a file in TensorFlow Lite for Microcontrollers, in a child process.

    This is the real runtime, compiled for this machine, with its portable kernels. On a chip with
    32-bit pointers, the structures in the tail of the arena are smaller. Kernels optimized for a
    chip (CMSIS-NN) may need other scratch buffers.

    Args:
        path: The file.
        x: Rows as for `LiteRTModel.predict`.

    Raises:
        InputError: If LiteRT cannot run the file on these rows.
        MissingExtraError: If tflite-micro is not installed.
    """
    require_extra("tflite_micro", "micro")
    graph = read_graph(path)
    operators = sum(graph.ops.values())
    with IsolatedModel(path) as model:
        rows, (inputs, outputs) = model.arrange(x), model.order()
        expected = _by_name(model.predict(x, raw=True), model.outputs)
        specs = {spec.name: spec for spec in model.outputs}
        batch = model.inputs[0].shape[0] if model.inputs[0].shape else None
    with IsolatedModel(path, reference=True) as model:
        reference = _by_name(model.predict(x, raw=True), model.outputs)
    child = Child(_SERVICE, memory=physical_memory())
    with child:
        try:
            child.ask("load", path=str(path), arena=_arena(graph), timeout=_SECONDS)
            produced = _predict(child, [rows[name] for name in inputs], outputs, batch or 1)
            sizes = child.ask("allocations", timeout=_SECONDS)
            needed = child.ask("needed", at_least=sizes["total"], timeout=_SECONDS)["bytes"]
        except ChildError as error:
            operator, reason = _refused(error, graph)
            return TFLMResult(
                target=TFLM, runs=False, operator=operator, reason=reason, operators=operators
            )
    return TFLMResult(
        target=TFLM,
        runs=True,
        operators=operators,
        arena=ArenaRecord(**sizes, needed=needed),
        outputs=tuple(
            _compared(specs[name], produced[name], expected[name], reference[name])
            for name in outputs
        ),
    )


def _arena(graph: Graph) -> int:
    """Returns a large enough arena size: all tensors at once, plus a reserve for each operator."""
    every = [t for part in graph.subgraphs for t in part.tensors if not t.constant]
    tensors = sum(max(0, t.entries) * 8 + 64 for t in every)
    wanted = tensors + _PER_OP * sum(graph.ops.values()) + _SPARE + len(graph.content)
    return min(wanted, _LARGEST)


def _predict(child: Child, rows: list[Array], outputs: list[str], batch: int) -> dict[str, Array]:
    count = len(rows[0])
    padded = -(-count // batch) * batch
    with temporary_folder() as folder:
        for i, values in enumerate(rows):
            np.save(Path(folder, f"x{i}.npy"), np.resize(values, (padded, *values.shape[1:])))
        child.ask(
            "predict",
            folder=folder,
            inputs=len(rows),
            outputs=len(outputs),
            batch=batch,
            timeout=_SECONDS,
        )
        return {name: np.load(Path(folder, f"y{i}.npy"))[:count] for i, name in enumerate(outputs)}


def _by_name(y: Any, specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    return y if isinstance(y, dict) else {specs[0].name: y}


def _compared(spec: TensorSpec, produced: Array, expected: Array, reference: Array) -> DeviceOutput:
    agreement = None
    if expected.ndim > 1 and expected.shape[-1] > 1 and produced.shape == expected.shape:
        agreement = float((produced.argmax(-1) == expected.argmax(-1)).mean())
    return DeviceOutput(
        name=spec.name,
        unit="value" if spec.scale is None else "steps",
        litert=difference(produced, expected),
        reference=difference(produced, reference),
        agreement=agreement,
    )


def difference(a: Array, b: Array) -> DifferenceRecord:
    """Compares the outputs of two runtimes, row by row.

    Args:
        a: Outputs `(n, …)`; integers are compared in steps.
        b: Outputs of the same shape.

    Raises:
        InputError: If the shapes differ.

    Example:
        >>> difference(np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 6]]))
        DifferenceRecord(equal=0.5, largest=2.0)
    """
    if a.shape != b.shape:
        raise InputError(f"The runtimes give outputs of different shapes: {a.shape}, {b.shape}.")
    rows_a, rows_b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    far = np.abs(rows_a.astype(np.float64) - rows_b.astype(np.float64))
    equal = (rows_a == rows_b).all(1) | [
        x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True)
    ]
    return DifferenceRecord(equal=float(equal.mean()), largest=float(far.max(initial=0.0)))


def _refused(error: ChildError, graph: Graph) -> tuple[str | None, str]:
    """Returns the operator of the file that the runtime's log names first, and the reason.

    The runtime reports what it does not support only in its log. This function searches the log for
    the names of the file's own operators, whatever the surrounding words.
    """
    lines = [re.sub(r"^\S+\.cc:\d+ ", "", line).rstrip(".") for line in error.lines]
    names = sorted(set(graph.ops) | {"CUSTOM"}, key=len, reverse=True)
    for line in lines:
        for name in names:
            if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", line):
                custom = graph.custom_ops
                operator = custom[0] if name == "CUSTOM" and custom else name
                return operator, _short("; ".join(lines))
    reason = error.reason if error.signal or error.timed_out else "; ".join(lines) or error.reason
    return None, _short(reason)


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"
