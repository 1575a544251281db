"""Writes a `.tflite` file as C++ source for TensorFlow Lite for Microcontrollers."""

import re
from pathlib import Path

import numpy as np

from keras_distill._internal import InputError, _files
from keras_distill._internal._device_targets import TFLM
from keras_distill._internal._types import PathLike
from keras_distill.device._code import DTYPES, facts, fill, literal, plain
from keras_distill.records import DeviceRecord, TFLMResult

_MAX_BYTES = 16 << 20  # the source file is six times as large; no microcontroller has more flash
_COLUMNS = 16

# Operators whose Add call differs from their name in camel case.
_ADD = {
    "BATCH_MATMUL": "BatchMatMul",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}


def c_array(record: DeviceRecord, folder: PathLike, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Writes model.h, model.cc, and main.cc.

    The header has the measured size of the arena, the operators for a resolver, scales, zero
    points, and class names. model.cc has the bytes, aligned to 16 bytes. main.cc runs the model
    once.

    Args:
        record: The result of `check_device`. Its file is read again.
        folder: The folder to create.
        overwrite: Whether to replace an existing folder.

    Returns:
        The paths of the files.

    Raises:
        InputError: If the file was changed since the check, is too large, has custom operators, or
            has inputs or outputs that are not numbers; or if the folder exists.
    """
    path = _files.check_file(record.file, max_bytes=_MAX_BYTES)
    content = path.read_bytes()
    if _files.sha256(path) != record.sha256:
        raise InputError(f"{path} was changed after it was checked. Run the command again.")
    for tensor in (*record.inputs, *record.outputs):
        if tensor.dtype not in DTYPES:
            raise InputError(
                f"{path}: {tensor.name!r} is {tensor.dtype}; C++ source is written for numbers:"
                f" {', '.join(sorted(DTYPES))}."
            )
    values = _values(record, content)
    with _files.atomic_path(folder, overwrite=overwrite, folder=True) as temporary:
        temporary.mkdir()
        for name in ("model.h", "model.cc", "main.cc"):
            text = fill(name, **values)
            (temporary / name).write_text(re.sub(r"\n{3,}", "\n\n", text), encoding="utf-8")
    return tuple(Path(folder, name) for name in ("model.h", "model.cc", "main.cc"))


def _values(record: DeviceRecord, content: bytes) -> dict[str, object]:
    measured = next((r for r in record.results if isinstance(r, TFLMResult)), None)
    arena = None if measured is None or measured.arena is None else measured.arena
    size = None if arena is None else arena.needed or arena.total
    why = f"give --target {TFLM} to measure it."
    if measured is not None and not measured.runs:
        why = f"TensorFlow Lite for Microcontrollers does not run the file: {measured.refusal()}."
    operators = [add_name(name) for name in record.ops]
    outputs = [facts(t) for t in record.outputs]
    named = any(t["size"] == len(record.class_names) for t in outputs)
    return {
        "file": plain(Path(record.file).name),
        "size": len(content),
        "precision": record.precision,
        "sha256": record.sha256,
        "guard": "KERAS_DISTILL_MODEL_H_",
        "header": "model.h",
        "arena": size,
        "unmeasured": plain(why),
        "guess": -(-10 * len(content) // 1024) * 1024,
        "operators": operators,
        "operators_text": "".join(f" ADD({name})" for name in operators),
        "inputs": [facts(t) for t in record.inputs],
        "outputs": outputs,
        "classes": [literal(name) for name in record.class_names] if named else [],
        "bytes": _array(content),
    }


def add_name(operator: str) -> str:
    """Returns the name of the MicroMutableOpResolver method that adds an operator.

    Example:
        >>> add_name("DEPTHWISE_CONV_2D"), add_name("BATCH_MATMUL"), add_name("PADV2")
        ('DepthwiseConv2D', 'BatchMatMul', 'PadV2')
    """
    words = "".join(word.capitalize() for word in operator.split("_")).replace("2d", "2D")
    return _ADD.get(operator, words)


def _array(content: bytes) -> str:
    values = np.frombuffer(content, np.uint8).tolist()
    lines = (values[i : i + _COLUMNS] for i in range(0, len(values), _COLUMNS))
    return "\n".join("    " + " ".join(f"{value:#04x}," for value in line) for line in lines)
