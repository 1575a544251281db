"""Checks a `.tflite` file for one or more targets."""

import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill._internal import (
    _files,
    _machine,
    check_choice,
    check_count,
    check_number,
    require_extra,
)
from keras_distill._internal._device_targets import TFLM, XNNPACK, parse_targets
from keras_distill._internal._types import Array, PathLike
from keras_distill.device._ethos import compile_for_npu
from keras_distill.device._snippets import snippets
from keras_distill.device._tflm import run_on_microcontroller
from keras_distill.device._xnnpack import count_delegated
from keras_distill.litert import TensorSpec, label_file, probe, read_graph
from keras_distill.records import RANDOM, DeviceRecord, DeviceResult, TensorRecord

SAMPLES = 200
MAX_BYTES = 1 << 30  # no larger file fits on any of the devices
_MAX_ENTRIES = 1 << 23  # entries of random rows, 8 bytes each while they are generated
_SPLITS = ("train", "validation", "test")
_VERSIONS = ("ai-edge-litert", "tflite-micro", "ethos-u-vela")


def check_device(
    path: PathLike,
    targets: Sequence[str] = (),
    data: Any = None,
    *,
    split: str = "test",
    samples: int = SAMPLES,
    data_dir: PathLike | None = None,
    clock_mhz: float | None = None,
    class_names: Sequence[str] = (),
) -> DeviceRecord:
    """Checks for one or more targets whether a `.tflite` file runs, its memory, and its speed.

    Each runtime and compiler runs in a child process, because a file may crash it. For TensorFlow
    Lite for Microcontrollers, the outputs on `samples` rows are compared with those of LiteRT.

    Args:
        path: The file.
        targets: Names of `TARGETS`, or "arm". If empty, tflm, ethos-u55-128, and xnnpack.
        data: Rows: a data spec, the `Splits` of `data.load`, a `tf.data.Dataset`, or arrays. If
            None, random rows over the whole range of a quantized input.
        split: The split of a spec.
        samples: Maximum number of rows.
        data_dir: Folder of prepared data sets.
        clock_mhz: The clock of an NPU, in MHz, to compute milliseconds. If None, the clock of
            Vela's configuration.
        class_names: Names of the classes. If empty, those of the file's metadata or of the data.

    Raises:
        InputError: If an argument is not valid, or LiteRT cannot run the file.
        MissingExtraError: If a target needs a package that is not installed.

    Example:
        >>> import keras, pathlib, tempfile, keras_distill as kd
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> path = pathlib.Path(tempfile.mkdtemp(), "dense.tflite")
        >>> _ = kd.export_tflite(model, path, data=np.ones((8, 4), np.float32))
        >>> record = check_device(path, ["xnnpack"])
        >>> record.result("xnnpack").taken, record.failures
        (1, [])
    """
    check_choice("split", split, _SPLITS)
    names = parse_targets(targets)
    check_count("samples", samples)
    check_installed(names)
    if clock_mhz is not None:
        check_number("clock_mhz", clock_mhz, above=0)
    path = _files.check_file(path, max_bytes=MAX_BYTES)
    graph, specs = read_graph(path), probe(path)
    if data is None:
        x, source, known = random_rows(specs.inputs, samples), RANDOM, ()
    else:
        x, source, known = _rows(data, specs.inputs, samples, split, data_dir)
    names_of_classes = tuple(class_names) or _labels(path, specs.outputs) or known
    tensors = [
        tuple(TensorRecord(**spec._asdict()) for spec in every)
        for every in (specs.inputs, specs.outputs)
    ]
    record = DeviceRecord(
        file=str(path),
        bytes=len(graph.content),
        sha256=_files.sha256(path),
        precision=graph.precision,
        ops=graph.ops,
        inputs=tensors[0],
        outputs=tensors[1],
        class_names=names_of_classes,
        samples=len(next(iter(x.values()))) if TFLM in names else 0,
        source=source,
        results=check_targets(path, x, names, clock_mhz=clock_mhz),
        machine=_machine.describe(),
        versions={name: _machine.version_of(name) or "not installed" for name in _VERSIONS},
        created=_machine.now(),
    )
    code = snippets(record.file, record.inputs, record.outputs, record.class_names)
    return record.model_copy(update={"snippets": code})


def check_targets(
    path: PathLike,
    x: Array | Mapping[str, Array],
    targets: Sequence[str],
    *,
    clock_mhz: float | None = None,
) -> tuple[DeviceResult, ...]:
    """Checks a `.tflite` file for targets; see `check_device`.

    Args:
        path: The file.
        x: Rows as for `LiteRTModel.predict`.
        targets: As `parse_targets` returns them.
        clock_mhz: See `check_device`.
    """
    path = Path(path)
    found: list[DeviceResult] = []
    for target in targets:
        if target == TFLM:
            found.append(run_on_microcontroller(path, x))
        elif target == XNNPACK:
            found.append(count_delegated(path))
        else:
            found.append(compile_for_npu(path, target, clock_mhz))
    return tuple(found)


def check_installed(targets: Sequence[str]) -> None:
    """Checks that the packages for these targets are installed.

    Args:
        targets: As `parse_targets` returns them.

    Raises:
        MissingExtraError: If a package is missing. The message has the pip command.
    """
    for target in targets:
        if target != XNNPACK:
            require_extra("tflite_micro" if target == TFLM else "ethosu", "micro")


def _labels(path: Path, outputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Returns the class names in the metadata of a file; empty if there are none."""
    sizes = [spec.shape[-1] for spec in outputs if spec.shape]
    return next((names for size in sizes if size and (names := label_file(path, size))), ())


def spaced(x: Any, count: int = SAMPLES) -> Any:
    """Returns at most `count` rows, evenly spaced.

    Args:
        x: An array, or a dict of arrays by input.
        count: Maximum number of rows.
    """
    if isinstance(x, Mapping):
        return {name: spaced(rows, count) for name, rows in x.items()}
    if len(x) <= count:
        return x
    return x[np.linspace(0, len(x) - 1, count).round().astype(int)]


def random_rows(inputs: Sequence[TensorSpec], count: int) -> dict[str, Array]:
    """Generates random rows: all integers of a quantized input are equally likely, real values are
    in -1..1, and other integers are 0 and 1.

    The rows depend only on the names and shapes of the inputs. There are fewer than `count` rows if
    they would need more than 64 MiB.
    """
    shapes = {spec.name: tuple(n or 1 for n in spec.shape[1:]) for spec in inputs}
    entries = sum(math.prod(shape) for shape in shapes.values())
    count = max(1, min(count, _MAX_ENTRIES // max(1, entries)))
    found = {}
    for spec in inputs:
        shape = (count, *shapes[spec.name])
        random = np.random.default_rng(zlib.crc32(spec.name.encode()))
        dtype = np.dtype(spec.dtype)
        if dtype.kind == "f":
            found[spec.name] = random.uniform(-1, 1, shape).astype(dtype)
        elif spec.scale is not None:
            limits = np.iinfo(dtype)
            found[spec.name] = random.integers(limits.min, limits.max + 1, shape).astype(dtype)
        else:
            found[spec.name] = random.integers(0, 2, shape).astype(dtype)
    return found


def _rows(
    data: Any,
    inputs: Sequence[TensorSpec],
    samples: int,
    split: str,
    data_dir: PathLike | None,
) -> tuple[dict[str, Array], str, tuple[str, ...]]:
    from keras_distill.export import InputInfo, take  # imports TensorFlow

    infos = [InputInfo(i.name, i.shape, "float32" if i.scale else i.dtype) for i in inputs]
    rows = take("data", data, infos, samples, split=split, data_dir=data_dir)
    return rows.x, rows.source, rows.class_names
