"""From a Keras model to a `.tflite` file that was run and compared before it is handed over."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill._internal import InputError, VerificationError, _files, bad, check_identifier
from keras_distill.export import _metadata, _verification
from keras_distill.export._options import NEED_CALIBRATION, QUANTIZATIONS, ExportOptions
from keras_distill.export._process import Converted, run_converter
from keras_distill.export._record import make_record, preprocessing, raw_ranges
from keras_distill.export._resolve import resolve
from keras_distill.export._work import Work, prepare
from keras_distill.litert import _isolated
from keras_distill.litert._interpreter import custom_ops
from keras_distill.records._export import ExportRecord, ExportSet, VerificationRecord


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
        quantization: "float32"; "float16" (half precision weights); "dynamic" (int8 weights, where
            a tensor has 1,024 entries or more); "int8" (all integer); "int16x8" (int16
            activations, int8 weights); "weight-only-int8"; "weight-only-int4".
        calibration: Typical rows that int8 and int16x8 ranges are measured on.
        batch_size: Rows per call; None leaves it open.
        max_drop: The most accuracy points that the file may lose against the model on `data`.
        data: Labeled rows that the verification judges by.
        overwrite: Whether existing files may be replaced.
        **options: Further fields of `ExportOptions`, which also says what forms the rows may have.

    Returns:
        The record.

    Raises:
        InputError: If an argument does not fit, or this model cannot be had in this precision.
        VerificationError: If the file is not near enough to the model; it is not kept, unless
            `keep_failed`.

    Example:
        >>> import keras, tempfile, pathlib
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> record = export_tflite(model, pathlib.Path(tempfile.mkdtemp()) / "tiny.tflite")
        >>> record.ops, record.verification.passed
        ({'FULLY_CONNECTED': 1}, True)
    """
    path = Path(path)
    given = ExportOptions(
        calibration=calibration,
        batch_size=batch_size,
        max_drop=max_drop,
        data=data,
        overwrite=overwrite,
        **options,
    )
    result = _export(model, {quantization: path}, given)
    if quantization in result.impossible:
        raise InputError(f"{path.name} cannot be made: {result.impossible[quantization]}.")
    if quantization in result.rejected:
        raise VerificationError(f"{path.name} fails verification: {result.rejected[quantization]}.")
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

    A precision that this model cannot be had in, or that fails verification, does not stop the
    others.

    Args:
        model: As for `export_tflite`.
        folder: Where the files go, as `<stem>-<precision>.tflite`, each with its record.
        quantizations: The precisions.
        stem: Start of the names; None: the model's name.
        **options: Fields of `ExportOptions`.

    Raises:
        InputError: If an argument does not fit.
    """
    if isinstance(quantizations, str) or not quantizations:
        raise bad("quantizations", "be a list of precisions", quantizations)
    given = ExportOptions(**options)
    given.check_precisions(quantizations)
    source = resolve(model, imports=given.imports)
    base = check_identifier("stem", stem or source.name)
    paths = {name: Path(folder) / f"{base}-{name}.tflite" for name in quantizations}
    return _export(source, paths, given)


def record_path(path: str | os.PathLike) -> Path:
    """Where the record of a `.tflite` file stands: its name + ".json"."""
    path = Path(path)
    return path.with_name(path.name + ".json")


def _export(model: Any, paths: Mapping[str, Path], o: ExportOptions) -> ExportSet:
    o.check_precisions(list(paths))
    for path in paths.values():
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the name of the .tflite file.")
        _files.check_output(path, overwrite=o.overwrite)
        _files.check_output(record_path(path), overwrite=o.overwrite)
    source = resolve(model, imports=o.imports)
    work = prepare(source, o, any(name in NEED_CALIBRATION for name in paths))
    with tempfile.TemporaryDirectory(prefix="keras-distill-") as folder:
        converted = _convert(work, list(paths), Path(folder))
        return _deliver(work, paths, converted)


def _convert(work: Work, names: list[str], folder: Path) -> dict[str, Converted]:
    o, source = work.options, work.source
    try:
        source.save(folder / "saved_model", o.batch_size)
    except (ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"Model {source.name!r} cannot be traced for batch_size={o.batch_size}:"
            f" {' '.join(str(error).split())[:300]}"
        ) from error
    calibration = None
    if work.calibration is not None:
        calibration = folder / "calibration.npz"
        dtypes = {i.name: i.dtype for i in source.inputs}
        np.savez(calibration, **{k: a.astype(dtypes[k]) for k, a in work.calibration.x.items()})
    (folder / "out").mkdir()
    request = {
        "saved_model": str(folder / "saved_model"),
        "out": str(folder / "out"),
        "calibration": calibration and str(calibration),
        "batch_size": o.batch_size,
        "io": o.io,
        "sparse": o.sparse,
    }
    return run_converter(request, names, timeout=o.timeout)


def _deliver(
    work: Work, paths: Mapping[str, Path], converted: Mapping[str, Converted]
) -> ExportSet:
    exports, rejected, impossible = {}, {}, {}
    for name, path in paths.items():
        made = converted[name]
        if made.path is None:
            impossible[name] = made.error
            continue
        try:
            probe, verification = _verify(work, name, made.path)
        except InputError as error:
            rejected[name] = str(error).replace(str(made.path), path.name)
            continue
        record = make_record(work, name, path, made, probe, verification)
        if not verification.passed:
            rejected[name] = "; ".join(verification.failures)
        if verification.passed or work.options.keep_failed:
            _write(path, made.path, record, work.options.overwrite)
        if verification.passed:
            exports[name] = record
    return ExportSet(exports=exports, rejected=rejected, impossible=impossible)


def _verify(work: Work, name: str, file: Path) -> tuple[_isolated.Probe, VerificationRecord]:
    """Runs the file in a child process, adds its metadata, and compares what it then computes.

    Raises:
        InputError: If it has other than builtin operators, cannot be loaded or run, or kills the
            interpreter.
    """
    foreign = custom_ops(file)
    if foreign:
        raise InputError(f"{file}: has operators that are no TFLite builtins: {', '.join(foreign)}")
    probe = _isolated.probe(file)
    _metadata.attach(
        file,
        name=work.source.name,
        description=preprocessing(work.source) or "",
        inputs=probe.inputs,
        outputs=probe.outputs,
        ranges=raw_ranges(work.source),
        class_names=work.class_names,
    )
    y = _isolated.predict(file, work.judged_on.x, threads=os.cpu_count() or 1)
    produced = y if isinstance(y, dict) else {probe.outputs[0].name: y}
    if set(produced) != set(work.reference):
        raise InputError(
            f"{file}: has the outputs {sorted(produced)}, not {sorted(work.reference)}"
        )
    verification = _verification.judge(
        work.reference,
        produced,
        quantization=name,
        labels=work.classes,
        max_drop=work.options.max_drop,
        limit=(work.options.limits or {}).get(name),
        source=work.judged_on.source,
    )
    return probe, verification


def _write(path: Path, file: Path, record: ExportRecord, overwrite: bool) -> None:
    """The file and its record: if the second cannot be written, the first is not put in place."""
    with _files.atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(file.read_bytes())
        record.save(record_path(path), overwrite=overwrite)
