"""Measures the size, latency, and quality of several models."""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_distill import device, models
from keras_distill._internal import (
    InputError,
    KerasDistillWarning,
    VerificationError,
    _files,
    _machine,
    check_choice,
)
from keras_distill._internal._temporary import temporary_folder
from keras_distill._internal._types import PathLike
from keras_distill.benchmarks._latency import Timing, check_settings, measure_latency
from keras_distill.benchmarks._quality import measure_quality, measure_size
from keras_distill.export import (
    InputInfo,
    KerasSource,
    Samples,
    TFLiteSource,
    export_tflite,
    keep_converter,
    random_samples,
    resolve,
    same_inputs,
    shown_inputs,
    take,
)
from keras_distill.litert import TensorSpec, predict_isolated, read_graph, takes_pixels
from keras_distill.records import BenchmarkRecord, EntryRecord, QualityRecord, SizeRecord

AS_TFLITE = " as .tflite"
_KINDS = (models.KERAS, models.TFLITE, models.SAVED_MODEL)
_SPLITS = ("train", "validation", "test")
_RANDOM_ROWS = 32
_PIXELS = "raw pixels were passed as q = {}, because its input range is narrow"


class _Subject(NamedTuple):
    """One model in one runtime, ready to be measured."""

    name: str
    model: Any  # a KerasSource or the path of a .tflite file
    file: Path | None
    inputs: tuple[InputInfo, ...]
    notes: tuple[str, ...] = ()
    spec: TensorSpec | None = None  # of the single input of a file
    step: float | None = None  # of a file that outputs quantized probabilities

    @property
    def in_keras(self) -> bool:
        return isinstance(self.model, KerasSource)


def benchmark(
    models: Mapping[str, Any] | Sequence[Any],
    data: Any = None,
    *,
    split: str = "test",
    samples: int | None = None,
    data_dir: PathLike | None = None,
    imports: Sequence[str] = (),
    threads: Sequence[int] = (1,),
    runs: int = 50,
    batch_size: int = 32,
    in_keras: bool = True,
    targets: Sequence[str] = (),
) -> BenchmarkRecord:
    """Measures size, latency, and quality of models. The first model is the baseline (the teacher).

    A Keras model is measured in Keras and also as a float32 `.tflite` file. Files run in child
    processes, so a crash cannot end this process.

    Args:
        models: `.keras` and `.tflite` files, SavedModel folders, or Keras models: a list, or a
            dict by name.
        data: Labeled rows for the quality: a data spec, the `Splits` of `data.load`, a
            `tf.data.Dataset` of (x, y), or (x, y). If None, latency is measured on random rows, and
            quality is not measured.
        split: The split of a spec.
        samples: Maximum number of rows for the quality, evenly spaced. If None, all.
        data_dir: Folder of prepared data sets.
        imports: Modules that register custom layers of `.keras` files.
        threads: Numbers of interpreter threads.
        runs: Timed calls of each model.
        batch_size: Rows per call in the batched measurement.
        in_keras: Whether to measure Keras models also in Keras.
        targets: Devices for which each file is checked, see `device.parse_targets`. By default,
            none.

    Raises:
        InputError: If an argument is not valid, or a model cannot be loaded or run.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
        >>> record = benchmark({"mlp": model}, runs=3)
        >>> [(e.name, e.size.parameters, e.size.multiply_adds) for e in record.entries]
        [('mlp', 12, 12), ('mlp as .tflite', 12, 12)]
    """
    check_choice("split", split, _SPLITS)
    check_settings(threads, runs, batch_size)
    devices = device.parse_targets(targets) if targets else ()
    device.check_installed(devices)
    named = _named(models)
    opened = {name: _opened(name, model, imports) for name, model in named.items()}
    inputs = {name: part.inputs for name, (part, _) in opened.items()}
    _check_inputs(inputs)
    first = next(iter(inputs.values()))
    rows = None if data is None else _labeled(data, first, split, samples, data_dir)
    with temporary_folder() as work:
        with keep_converter():
            subjects = _subjects(opened, Path(work), in_keras)
        rows = rows or _random(subjects[0])
        x = rows.x if len(rows.x) > 1 else next(iter(rows.x.values()))
        entries = _entries(subjects, x, rows, threads, runs, batch_size, devices)
    return BenchmarkRecord(
        entries=entries,
        data=None if data is None else rows.source,
        split=split if isinstance(data, str) else None,
        machine=_machine.describe(),
        versions=_machine.versions(),
        created=_machine.now(),
    )


def _named(models: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    if isinstance(models, str | os.PathLike | keras.Model) or not models:
        raise InputError("`models` must be a list of one or more models, or a dict by name.")
    if isinstance(models, Mapping):
        return dict(models)
    named: dict[str, Any] = {}
    for model in models:
        base = Path(model).name if isinstance(model, str | os.PathLike) else model.name
        name, number = base, 1
        while name in named:
            number += 1
            name = f"{base} ({number})"
        named[name] = model
    return named


def _subjects(
    opened: Mapping[str, tuple[Any, Path | None]], work: Path, in_keras: bool
) -> list[_Subject]:
    subjects = []
    for place, (name, (source, path)) in enumerate(opened.items()):
        if isinstance(source, _Subject):
            subjects.append(source)
            continue
        notes: tuple[str, ...] = ()
        try:
            file = work / f"{place}.tflite"
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # the warning that the conversion was verified on random rows
                export_tflite(source, file)
            converted = _Subject(name + AS_TFLITE, file, None, source.inputs)
        except (VerificationError, InputError) as error:
            if not isinstance(source, KerasSource):
                raise
            notes, converted = (f"no float32 .tflite: {error}",), None
            warnings.warn(f"{name}: {notes[0]}", KerasDistillWarning, stacklevel=3)
        if isinstance(source, KerasSource) and (in_keras or converted is None):
            subjects.append(_Subject(name, source, path, source.inputs, notes))
        if converted is not None:
            subjects.append(converted)
    return subjects


def _opened(name: str, model: Any, imports: Sequence[str]) -> tuple[Any, Path | None]:
    """Returns the subject of a `.tflite` file, or the source of any other model and its path."""
    path = None
    if isinstance(model, str | os.PathLike):
        found = models.model_file(model, _KINDS, name=name)
        path = found.path
        if found.kind == models.TFLITE:
            return _of_file(name, path), path
    return resolve(model, imports=imports), path


def _of_file(name: str, path: Path) -> _Subject:
    """Inspects a `.tflite` file of any origin in a child process."""
    source = TFLiteSource(path)
    # In TFLite, every quantized softmax and sigmoid has this scale; other outputs rarely have it.
    step = source.specs.outputs[0].scale
    return _Subject(
        name,
        path,
        path,
        source.inputs,
        spec=source.specs.inputs[0] if len(source.inputs) == 1 else None,
        step=step if step == 1 / 256 else None,
    )


def _random(first: _Subject) -> Samples:
    model = first.model.model if first.in_keras else None
    return random_samples(model, first.inputs, _RANDOM_ROWS)


def _labeled(
    data: Any, inputs: Any, split: str, samples: int | None, data_dir: PathLike | None
) -> Samples:
    rows = take("data", data, inputs, samples, split=split, data_dir=data_dir)
    if rows.y is None:
        raise InputError("`data` must have labels: (x, y).")
    return rows


def _check_inputs(inputs: Mapping[str, Any]) -> None:
    """Checks that all models have the same inputs, so that the same rows can be used for all.

    Args:
        inputs: The inputs of each model, by its name.

    Raises:
        InputError: If inputs differ. The message names the first model and the one that differs.
    """
    first = next(iter(inputs))
    for name, other in inputs.items():
        if not same_inputs(inputs[first], other):
            raise InputError(
                f"{name} takes {shown_inputs(other)}, but {first}, the first model, takes"
                f" {shown_inputs(inputs[first])}. Benchmark models that take the same input; for"
                " others, run the benchmark once for each input."
            )


def _entries(
    subjects: Sequence[_Subject],
    x: Any,
    rows: Samples,
    threads: Sequence[int],
    runs: int,
    batch_size: int,
    devices: Sequence[str],
) -> tuple[EntryRecord, ...]:
    qualities = _qualities(subjects, x, rows)
    timings = measure_latency(
        {s.name: s.model.model if s.in_keras else s.model for s in subjects},
        x,
        threads=threads,
        runs=runs,
        batch_size=batch_size,
    )
    work = {s.name: read_graph(s.model).multiply_adds for s in subjects if not s.in_keras}
    entries = []
    for s in subjects:
        size = _size(s, timings[s.name], work)
        entries.append(
            EntryRecord(
                name=s.name,
                file=None if s.file is None else str(s.file),
                runtime="keras" if s.in_keras else "litert",
                precision=_precision(s),
                size=size,
                latency=timings[s.name].records,
                quality=qualities.get(s.name),
                devices=()
                if s.in_keras
                else device.check_targets(s.model, device.spaced(x), devices),
                notes=s.notes + _pixel_notes(s, x) + (rows.warnings if s is subjects[0] else ()),
            )
        )
    return tuple(entries)


def _precision(s: _Subject) -> str:
    if s.in_keras:
        return str(s.model.model.compute_dtype)
    return read_graph(s.model).precision


def _size(s: _Subject, timing: Timing, work: Mapping[str, int | None]) -> SizeRecord:
    if not s.in_keras:
        measured = measure_size(s.model)
        return measured.model_copy(update={"peak_memory_bytes": timing.peak_memory_bytes})
    raw, packed = (None, None) if s.file is None else _files.sizes(s.file)
    return SizeRecord(
        parameters=s.model.parameters,
        multiply_adds=work.get(s.name + AS_TFLITE),
        bytes=raw,
        gzip_bytes=packed,
    )


def _qualities(subjects: Sequence[_Subject], x: Any, rows: Samples) -> dict[str, QualityRecord]:
    if rows.y is None:
        return {}
    found, reference, inputs = {}, None, tuple(rows.x.values())
    for s in subjects:
        y = _predict(s, x)
        if isinstance(y, dict) or y.ndim < 2:
            raise InputError(f"{s.name}: quality is measured on one output of (n, classes).")
        declared = None if s.step is None else True
        found[s.name] = measure_quality(
            y, rows.y, reference, inputs=inputs, from_probabilities=declared, step=s.step
        )
        reference = y if reference is None else reference
    return found


def _predict(s: _Subject, x: Any) -> np.ndarray | dict[str, np.ndarray]:
    if s.in_keras:
        # The name of a single input may differ between models.
        y = s.model.predict(x if isinstance(x, dict) else {s.inputs[0].name: x})
        return y if len(y) > 1 else next(iter(y.values()))
    return predict_isolated(s.model, x, threads=os.cpu_count() or 1)


def _pixel_notes(s: _Subject, x: Any) -> tuple[str, ...]:
    if s.spec is None or isinstance(x, dict) or not takes_pixels(x, s.spec):
        return ()
    return (_PIXELS.format("x - 128" if s.spec.dtype == "int8" else "x"),)
