"""From a Keras model to a `.tflite` file that was run and compared before it is handed over."""

import datetime
import gzip
import importlib.metadata
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_distill import _files, _isolated
from keras_distill._checks import (
    GateError,
    InputError,
    bad,
    check_choice,
    check_count,
    check_number,
)
from keras_distill.export import _calibration, _gate
from keras_distill.export._process import Converted, one_error, run_converter
from keras_distill.export.samples import Samples, take
from keras_distill.export.sources import KerasSource, Source, resolve
from keras_distill.records.export import (
    CalibrationRecord,
    ExportRecipe,
    ExportRecord,
    ExportSet,
    GateRecord,
    ModelRecord,
    TensorRecord,
)

QUANTIZATIONS = tuple(_gate.LIMITS)
GATE_SAMPLES = 1000
_RANDOM_SAMPLES = 64
_PACKAGES = ("keras-distill", "keras", "tensorflow", "ai-edge-litert", "ai-edge-quantizer")


class Options(NamedTuple):
    """What `export_tflite` and `export_all` share; see there."""

    calibration: Any = None
    calibration_samples: int = 200
    batch_size: int | None = 1
    io: str = "integer"
    sparse: bool = False
    data: Any = None
    gate_samples: int = GATE_SAMPLES
    max_drop: float | None = None
    limits: Mapping[str, float] | None = None
    class_names: Sequence[str] | None = None
    data_dir: str | None = None
    keep_failed: bool = False
    overwrite: bool = False
    timeout: float = 900.0


def export_tflite(
    model: Any,
    path: str | os.PathLike,
    *,
    quantization: str = "float32",
    calibration: Any = None,
    batch_size: int | None = 1,
    max_drop: float | None = None,
    data: Any = None,
    overwrite: bool = False,
    **options: Any,
) -> ExportRecord:
    """Writes a `.tflite` file that was run and compared with the model, and its record beside it.

    The record is `path` + ".json". The file takes what the model takes: raw values, if the model
    has its preprocessing inside. Conversion and the first run happen in child processes.

    Args:
        model: A Keras model, a `.keras` file, a SavedModel folder, or a Distiller (its student).
        path: The file to write.
        quantization: "float32"; "float16" (half precision weights); "dynamic" (int8 weights);
            "int8" (all integer); "int16x8" (int16 activations, int8 weights);
            "weight-only-int8"; "weight-only-int4".
        calibration: Typical rows that int8 and int16x8 ranges are measured on: a data spec (its
            train split), a `tf.data.Dataset`, arrays.
        batch_size: Rows per call; None leaves it open.
        max_drop: The most accuracy points that the file may lose against the model on `data`.
        data: Labelled rows the gate judges by: a data spec (its validation split), a
            `tf.data.Dataset` of (x, y), or (x, y). Without it the gate compares outputs on the
            calibration rows, without those on random ones.
        overwrite: Whether existing files may be replaced.
        **options: `calibration_samples` (200); `io` ("integer": an integer file takes and gives
            integers; "float32"); `sparse` (leave zeros out of a float file); `gate_samples`
            (1000); `limits` (by precision, see `export.LIMITS`); `class_names`; `data_dir` (of
            prepared data sets); `keep_failed`; `timeout` (900 seconds).

    Returns:
        The record.

    Raises:
        InputError: If an argument does not fit, or this model cannot be had in this precision.
        GateError: If the file is not near enough to the model; it is not kept, unless
            `keep_failed`.

    Example:
        >>> import keras, tempfile, pathlib
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> record = export_tflite(model, pathlib.Path(tempfile.mkdtemp()) / "tiny.tflite")
        >>> record.ops, record.gate.passed
        ({'FULLY_CONNECTED': 1}, True)
    """
    check_choice("quantization", quantization, QUANTIZATIONS)
    path = Path(path)
    given = _options(
        calibration=calibration,
        batch_size=batch_size,
        max_drop=max_drop,
        data=data,
        overwrite=overwrite,
        **options,
    )
    result = _export(model, {quantization: path}, given)
    if quantization in result.impossible:
        raise one_error(result.impossible[quantization], path)
    if quantization in result.rejected:
        raise GateError(f"{path.name} fails the gate: {result.rejected[quantization]}")
    return result.exports[quantization]


def export_all(
    model: Any,
    folder: str | os.PathLike,
    *,
    quantizations: Sequence[str] = QUANTIZATIONS,
    stem: str | None = None,
    **options: Any,
) -> ExportSet:
    """Writes one `.tflite` file per precision from a single SavedModel.

    A precision that this model cannot be had in, or that fails the gate, does not stop the
    others.

    Args:
        model: As for `export_tflite`.
        folder: Where the files go, as `<stem>-<precision>.tflite`, each with its record.
        quantizations: The precisions.
        stem: Start of the names; None: the model's name.
        **options: As for `export_tflite`.

    Raises:
        InputError: If an argument does not fit.
    """
    if isinstance(quantizations, str) or not quantizations:
        raise bad("quantizations", "be a list of precisions", quantizations)
    for name in quantizations:
        check_choice("quantizations", name, QUANTIZATIONS)
    source = _as_source(model)
    base = stem or source.name
    paths = {name: Path(folder) / f"{base}-{name}.tflite" for name in quantizations}
    return _export(source, paths, _options(**options))


def _options(**given: Any) -> Options:
    unknown = set(given) - set(Options._fields)
    if unknown:
        raise TypeError(f"unexpected arguments: {', '.join(sorted(unknown))}")
    o = Options(**given)
    check_count("calibration_samples", o.calibration_samples)
    check_count("gate_samples", o.gate_samples)
    check_number("timeout", o.timeout, above=0)
    check_choice("io", o.io, ("integer", "float32"))
    if o.batch_size is not None:
        check_count("batch_size", o.batch_size)
    if o.max_drop is not None:
        check_number("max_drop", o.max_drop, at_least=0, at_most=100)
        if o.data is None:
            raise InputError("`max_drop` needs labelled rows: pass `data` (--data) as well.")
    for name, value in (o.limits or {}).items():
        check_choice("limits", name, QUANTIZATIONS)
        check_number(f"limits[{name!r}]", value, above=0)
    return o


def _as_source(model: Any) -> Source:
    return model if isinstance(model, KerasSource) else resolve(model)


class _Job(NamedTuple):
    """Everything the precisions of one export have in common."""

    source: Source
    options: Options
    calibration: Samples | None
    judged_on: Samples
    reference: dict[str, np.ndarray]
    said: tuple[str, ...]


def _export(model: Any, paths: Mapping[str, Path], o: Options) -> ExportSet:
    for path in paths.values():
        _check_paths(path, o.overwrite)
    integer = [name for name in paths if name in _calibration.NEEDED]
    if o.sparse and (dense := [n for n in paths if n not in ("float32", "float16")]):
        raise InputError(
            f"`sparse` must go with float32 or float16: a sparse {dense[0]} file does not load"
            " under the default delegate."
        )
    if integer and o.calibration is None:
        raise InputError(
            f"{integer[0]} needs `calibration` (--calibration): a data spec, a tf.data.Dataset or"
            " arrays of typical rows, to measure ranges on."
        )
    source = _as_source(model)
    job = _prepare(source, o, bool(integer))
    with tempfile.TemporaryDirectory(prefix="keras-distill-") as work:
        converted = _convert(job, list(paths), Path(work))
        return _deliver(job, paths, converted)


def _check_paths(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of the .tflite file.")
    _files.check_output(path, overwrite=overwrite)
    _files.check_output(record_path(path), overwrite=overwrite)


def record_path(path: str | os.PathLike) -> Path:
    """Where the record of a `.tflite` file stands: its name + ".json"."""
    path = Path(path)
    return path.with_name(path.name + ".json")


def _prepare(source: Source, o: Options, integer: bool) -> _Job:
    model = source.model if isinstance(source, KerasSource) else None
    calibration, said = None, []
    if o.calibration is not None:
        calibration = take(
            "calibration",
            o.calibration,
            source.inputs,
            o.calibration_samples,
            splits=("train",),
            data_dir=o.data_dir,
        )
        if integer:
            said = _calibration.check_calibration(calibration, model, o.batch_size)
    if o.data is not None:
        judged_on = take(
            "data",
            o.data,
            source.inputs,
            o.gate_samples,
            splits=("validation",),
            data_dir=o.data_dir,
        )
        if calibration is not None and integer:
            _calibration.check_covers(calibration.x, judged_on.x)
        if o.max_drop is not None and judged_on.y is None:
            raise InputError("`data` must have labels, (x, y), for `max_drop` to be judged.")
    elif calibration is not None:
        judged_on = calibration._replace(y=None, source="calibration")
    else:
        judged_on = _calibration.random_samples(model, source.inputs, _RANDOM_SAMPLES)
        said.append("no data given: the gate compared outputs on random rows")
    reference = source.predict(judged_on.x)
    for name, values in reference.items():
        if not np.isfinite(values).all():
            raise InputError(f"Model {source.name!r} itself gives NaN or infinity ({name!r}).")
    for text in said:
        warnings.warn(text, stacklevel=5)
    return _Job(source, o, calibration, judged_on, reference, tuple(said))


def _convert(job: _Job, names: list[str], work: Path) -> dict[str, Converted]:
    o, source = job.options, job.source
    try:
        source.save(work / "saved_model", o.batch_size)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"Model {source.name!r} cannot be traced for batch_size={o.batch_size}:"
            f" {' '.join(str(error).split())[:300]}"
        ) from error
    calibration = None
    if job.calibration is not None:
        calibration = work / "calibration.npz"
        dtypes = {i.name: i.dtype for i in source.inputs}
        np.savez(calibration, **{k: a.astype(dtypes[k]) for k, a in job.calibration.x.items()})
    (work / "out").mkdir()
    request = {
        "saved_model": str(work / "saved_model"),
        "out": str(work / "out"),
        "calibration": calibration and str(calibration),
        "batch_size": o.batch_size,
        "io": o.io,
        "sparse": o.sparse,
    }
    return run_converter(request, names, timeout=o.timeout)


def _deliver(job: _Job, paths: Mapping[str, Path], converted: Mapping[str, Converted]) -> ExportSet:
    exports, rejected, impossible = {}, {}, {}
    for name, path in paths.items():
        made = converted[name]
        if made.path is None:
            impossible[name] = made.error
            continue
        try:
            probe, gate = _verify(job, name, made.path)
        except InputError as error:
            rejected[name] = str(error).replace(str(made.path), path.name)
            continue
        record = _record(job, name, path, made, probe, gate)
        if not gate.passed:
            rejected[name] = "; ".join(gate.failures)
        if gate.passed or job.options.keep_failed:
            _write(path, made.path, record, job.options.overwrite)
        if gate.passed:
            exports[name] = record
    return ExportSet(exports=exports, rejected=rejected, impossible=impossible)


def _verify(job: _Job, name: str, file: Path) -> tuple[_isolated.Probe, GateRecord]:
    probe = _isolated.probe(file)
    y = _isolated.predict(file, job.judged_on.x, threads=os.cpu_count() or 1)
    produced = y if isinstance(y, dict) else {probe.outputs[0].name: y}
    if set(produced) != set(job.reference):
        raise InputError(f"{file}: has the outputs {sorted(produced)}, not {sorted(job.reference)}")
    gate = _gate.judge(
        job.reference,
        produced,
        quantization=name,
        labels=job.judged_on.y,
        max_drop=job.options.max_drop,
        limit=(job.options.limits or {}).get(name),
        source=job.judged_on.source,
    )
    return probe, gate


def _record(
    job: _Job, name: str, path: Path, made: Converted, probe: _isolated.Probe, gate: GateRecord
) -> ExportRecord:
    o, source = job.options, job.source
    calibration = None
    if name in _calibration.NEEDED:
        calibration = CalibrationRecord(
            source=job.calibration.source,
            samples=job.calibration.count,
            ranges=_calibration.ranges(job.calibration.x),
        )
    content = made.path.read_bytes()
    return ExportRecord(
        file=path.name,
        bytes=len(content),
        gzip_bytes=len(gzip.compress(content, 9, mtime=0)),
        sha256=_files.sha256(made.path),
        ops=probe.ops,
        inputs=tuple(TensorRecord(**spec._asdict()) for spec in probe.inputs),
        outputs=tuple(TensorRecord(**spec._asdict()) for spec in probe.outputs),
        model=_model_record(source),
        recipe=ExportRecipe(
            quantization=name,
            io=o.io if name in _calibration.NEEDED else "float32",
            batch_size=o.batch_size,
            sparse=o.sparse,
            calibration=calibration,
        ),
        gate=gate,
        class_names=_class_names(job),
        preprocessing=_preprocessing(source),
        warnings=job.said,
        seconds=made.seconds,
        versions={package: importlib.metadata.version(package) for package in _PACKAGES},
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def _class_names(job: _Job) -> tuple[str, ...]:
    if job.options.class_names is not None:
        return tuple(job.options.class_names)
    return job.judged_on.class_names or (job.calibration.class_names if job.calibration else ())


def _model_record(source: Source) -> ModelRecord:
    if isinstance(source, KerasSource):
        return ModelRecord(
            name=source.name, parameters=source.parameters, fingerprint=source.fingerprint
        )
    return ModelRecord(name=source.name)


def _preprocessing(source: Source) -> str | None:
    if not isinstance(source, KerasSource):
        return None
    rescaling = _calibration.first_rescaling(source.model)
    if rescaling is None:
        return None
    low, high = _calibration.raw_range(rescaling)
    return (
        f"inside the file: x * {rescaling.scale} + {rescaling.offset};"
        f" feed raw values of {low:g}..{high:g}"
    )


def _write(path: Path, file: Path, record: ExportRecord, overwrite: bool) -> None:
    """Both or neither: the record is removed again if the file cannot be put in place."""
    aside = record_path(path)
    with _files.atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(file.read_bytes())
        record.save(aside, overwrite=overwrite)
