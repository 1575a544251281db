"""Exports models to `.tflite` files. Each file is run and compared before it is written."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill._internal import InputError, VerificationError, _files, bad, check_identifier
from keras_distill._internal._temporary import temporary_folder
from keras_distill._internal._types import PathLike
from keras_distill.export import _verification
from keras_distill.export._converter_process import Converted, run_converter
from keras_distill.export._options import NEED_CALIBRATION, QUANTIZATIONS, ExportOptions
from keras_distill.export._prepare import Prepared, prepare, resolve
from keras_distill.export._record import make_record, preprocessing, raw_ranges
from keras_distill.litert import (
    Probe,
    add_metadata,
    predict_isolated,
    probe,
    read_graph,
    strip_file,
)
from keras_distill.records import ExportRecord, ExportSet, VerificationRecord


def export_tflite(
    model: Any,
    path: PathLike,
    *,
    quantization: str = "float32",
    calibration: Any = None,
    batch_size: int | None = 1,
    max_drop: float | None = None,
    data: Any = None,
    overwrite: bool = False,
    **options: Any,
) -> ExportRecord:
    """Writes a `.tflite` file and its record (`path` + ".json"), verified on `data`.

    The file takes the same values as the model: raw values, if the model contains its
    preprocessing. The conversion and the first run happen in child processes.

    Args:
        model: A Keras model, a `.keras` file, a SavedModel folder, or a Distiller (its student).
        path: The file to write.
        quantization: "float32"; "float16" (half-precision weights); "dynamic" (int8 weights in
            tensors of 1,024 entries or more); "int8" (all integer); "int16x8" (int16 activations,
            int8 weights); "weight-only-int8"; "weight-only-int4".
        calibration: Typical rows that set the ranges of int8 and int16x8.
        batch_size: Rows per call; None: any number.
        max_drop: Maximum loss of accuracy on `data` against the model, in points; None: 1 point, or
            one row where that is more.
        data: Labeled rows for the verification. Without it, the verdict of the record is "not
            verified on data".
        overwrite: Whether to replace existing files.
        **options: Further fields of `ExportOptions`, which also describes the forms of the rows.

    Returns:
        The record.

    Raises:
        InputError: If an argument is not valid, the model does not support the precision, or it
            is far more accurate on `data` of another range, such as x / 255.
        VerificationError: If the file differs too much from the model. It is not written, unless
            `keep_failed`; the error has its record.

    Example:
        >>> import keras, numpy, tempfile, pathlib
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "tiny.tflite"
        >>> record = export_tflite(model, file, data=numpy.ones((8, 4), "float32"))
        >>> record.ops, record.verification.verdict
        ({'FULLY_CONNECTED': 1}, 'passed')
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
    result, failed = _export(model, {quantization: path}, given)
    if quantization in result.impossible:
        raise InputError(f"{path.name} cannot be exported: {result.impossible[quantization]}.")
    if quantization in result.rejected:
        reason = result.rejected[quantization]
        raise VerificationError(
            f"{path.name} fails verification: {reason}.", record=failed.get(quantization)
        )
    return result.exports[quantization]


def export_all(
    model: Any,
    folder: PathLike,
    *,
    quantizations: Sequence[str] = QUANTIZATIONS,
    stem: str | None = None,
    **options: Any,
) -> ExportSet:
    """Writes a verified `.tflite` file for each precision.

    A precision that the model does not support, or that fails verification, does not stop the
    others.

    Args:
        model: As for `export_tflite`.
        folder: Folder of the files `<stem>-<precision>.tflite` and their records.
        quantizations: The precisions.
        stem: Start of the file names; None: the model's name.
        **options: Fields of `ExportOptions`.

    Raises:
        InputError: If an argument is not valid.
    """
    if isinstance(quantizations, str) or not quantizations:
        raise bad("quantizations", "be a list of precisions", quantizations)
    given = ExportOptions(**options)
    given.check_precisions(quantizations)
    source = resolve(model, imports=given.imports)
    base = check_identifier("stem", stem or source.name)
    paths = {name: Path(folder) / f"{base}-{name}.tflite" for name in quantizations}
    return _export(source, paths, given)[0]


def record_path(path: PathLike) -> Path:
    """Returns the path of the record of a `.tflite` file: its path + ".json"."""
    path = Path(path)
    return path.with_name(path.name + ".json")


def _export(
    model: Any, paths: Mapping[str, Path], options: ExportOptions
) -> tuple[ExportSet, dict[str, ExportRecord]]:
    """Returns the result, and the records of the files that failed."""
    options.check_precisions(list(paths))
    for path in paths.values():
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the name of the .tflite file.")
        _files.check_output(path, overwrite=options.overwrite)
        _files.check_output(record_path(path), overwrite=options.overwrite)
    source = resolve(model, imports=options.imports)
    integer = any(name in NEED_CALIBRATION for name in paths)
    prepared = prepare(source, options, integer=integer)
    with temporary_folder() as folder:
        converted = _convert(prepared, list(paths), Path(folder))
        return _verify_and_write(prepared, paths, converted)


def _convert(prepared: Prepared, names: list[str], folder: Path) -> dict[str, Converted]:
    options, source = prepared.options, prepared.source
    try:
        source.save(folder / "saved_model", options.batch_size)
    except (ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"Model {source.name!r} cannot be traced for batch_size={options.batch_size}:"
            f" {' '.join(str(error).split())[:300]}"
        ) from error
    calibration = None
    if prepared.calibration is not None:
        calibration = folder / "calibration.npz"
        dtypes = {i.name: i.dtype for i in source.inputs}
        rows: dict[str, Any] = {
            name: a.astype(dtypes[name]) for name, a in prepared.calibration.x.items()
        }
        np.savez(calibration, **rows)
    (folder / "out").mkdir()
    request = {
        "saved_model": str(folder / "saved_model"),
        "out": str(folder / "out"),
        "calibration": calibration and str(calibration),
        "batch_size": options.batch_size,
        "io": options.io,
        "sparse": options.sparse,
    }
    return run_converter(request, names, timeout=options.timeout)


def _verify_and_write(
    prepared: Prepared, paths: Mapping[str, Path], converted: Mapping[str, Converted]
) -> tuple[ExportSet, dict[str, ExportRecord]]:
    exports: dict[str, ExportRecord] = {}
    failed: dict[str, ExportRecord] = {}
    rejected: dict[str, str] = {}
    impossible: dict[str, str] = {}
    for name, path in paths.items():
        made = converted[name]
        if made.path is None:
            impossible[name] = made.error or "the converter wrote no file"
            continue
        try:
            probe, verification = _verify(prepared, name, made.path)
        except InputError as error:
            rejected[name] = str(error).replace(str(made.path), path.name)
            continue
        record = make_record(prepared, name, path, made.path, made.seconds, probe, verification)
        wrong = verification.verdict == "failed"
        if wrong:
            rejected[name] = "; ".join(verification.failures)
        if not wrong or prepared.options.keep_failed:
            _write(path, made.path, record, prepared.options.overwrite)
        (failed if wrong else exports)[name] = record
    return ExportSet(exports=exports, rejected=rejected, impossible=impossible), failed


def _verify(prepared: Prepared, name: str, file: Path) -> tuple[Probe, VerificationRecord]:
    """Runs the file in a child process, adds its metadata, and compares its outputs.

    Raises:
        InputError: If it contains operators that are not builtin, cannot be loaded or run, or
            crashes the interpreter.
    """
    if foreign := read_graph(file).custom_ops:
        raise InputError(
            f"{file}: contains operators that are not TFLite builtins: {', '.join(foreign)}"
        )
    found = probe(file)
    if prepared.options.strip:
        strip_file(file)
    else:
        add_metadata(
            file,
            name=prepared.source.name,
            description=preprocessing(prepared.source) or "",
            inputs=found.inputs,
            outputs=found.outputs,
            ranges=raw_ranges(prepared.source),
            class_names=prepared.class_names,
        )
    y = predict_isolated(file, prepared.samples.x, threads=os.cpu_count() or 1)
    produced = y if isinstance(y, dict) else {found.outputs[0].name: y}
    if set(produced) != set(prepared.outputs):
        raise InputError(
            f"{file}: has the outputs {sorted(produced)}, not {sorted(prepared.outputs)}"
        )
    options = prepared.options
    compressed = prepared.reference is not None
    rule = _verification.Rule.of_precision(
        name,
        limit=(options.limits or {}).get(name),
        max_drop=options.max_drop,
        compressed=compressed,
    )
    verification = _verification.judge(
        prepared.outputs,
        produced,
        rule,
        reference=prepared.reference,
        reference_name="the model given" if compressed else None,
        labels=prepared.labels,
        source=prepared.samples.source,
        on_data=prepared.on_data,
    )
    return found, verification


def _write(path: Path, file: Path, record: ExportRecord, overwrite: bool) -> None:
    """Writes the file and its record. If the record cannot be written, neither is the file."""
    with _files.atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(file.read_bytes())
        record.save(record_path(path), overwrite=overwrite)
