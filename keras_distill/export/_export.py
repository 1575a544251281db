"""Exports models to `.tflite` files. Each file is run and verified before it is written."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_distill._internal import InputError, VerificationError, _files, bad, check_identifier
from keras_distill._internal._types import PathLike
from keras_distill.export._converter_process import Converted
from keras_distill.export._options import INSTEAD, NEED_CALIBRATION, QUANTIZATIONS, ExportOptions
from keras_distill.export._prepare import Prepared, prepare, resolve
from keras_distill.export._record import make_record
from keras_distill.export._recurrent import has_loops, unrolled
from keras_distill.export._session import Session
from keras_distill.export._verification import Rule
from keras_distill.records import ExportRecord, ExportSet


def export_tflite(
    model: Any,
    path: PathLike,
    *,
    quantization: str = "float32",
    **options: Any,
) -> ExportRecord:
    """Writes a `.tflite` file in a given precision, and its record, verified on `data`.

    This function is `keras_distill.export_tflite` without the precision "auto" and the argument
    `calibrate`. See there for the description of precisions and rows.

    Args:
        model: A Keras model, a `.keras` file, a SavedModel folder, or a Distiller (its student).
        path: The file to write.
        quantization: One of `QUANTIZATIONS`.
        **options: Fields of `ExportOptions`.

    Returns:
        The record.

    Raises:
        InputError: See `keras_distill.export_tflite`.
        VerificationError: See `keras_distill.export_tflite`. The error has the record of the file.
    """
    path, given = Path(path), ExportOptions(**options)
    result, failed, crashed = _export(model, {quantization: path}, given)
    if quantization in crashed and quantization not in result.exports and not given.keep_failed:
        for other in INSTEAD:
            second = _export(model, {other: path}, given, quantization).result
            if other in second.exports:
                return second.exports[other]
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
        folder: Folder for the files `<stem>-<precision>.tflite` and their records.
        quantizations: The precisions.
        stem: Start of the file names. If None, the model's name.
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
    return _export(source, paths, given).result


def record_path(path: PathLike) -> Path:
    """Returns the path of the record of a `.tflite` file: its path + ".json"."""
    path = Path(path)
    return path.with_name(path.name + ".json")


class _Made(NamedTuple):
    """The files of an export.

    Attributes:
        result: The written files, by precision.
        failed: The records of the files that failed verification.
        crashed: The precisions for which loops of recurrent layers crashed the converter.
    """

    result: ExportSet
    failed: dict[str, ExportRecord]
    crashed: frozenset[str]


def _export(
    model: Any, paths: Mapping[str, Path], options: ExportOptions, asked: str | None = None
) -> _Made:
    options.check_precisions(list(paths))
    for path in paths.values():
        check_paths(path, options)
    source = resolve(model, imports=options.imports)
    integer = any(name in NEED_CALIBRATION for name in paths)
    prepared = prepare(source, options, integer=integer)
    with Session(prepared) as session, contextlib.ExitStack() as stack:
        converted = session.convert(list(paths))
        looped = has_loops(source)
        crashed = frozenset(name for name, one in converted.items() if one.crashed and looped)
        straight = unrolled(source) if crashed else None
        if straight is not None:
            other = stack.enter_context(Session(prepared._replace(source=straight)))
            converted |= other.convert(sorted(crashed))
        return _verify_and_write(session, paths, converted, crashed, asked)


def check_paths(path: Path, options: ExportOptions) -> None:
    """Checks that a file and its record may be written.

    Raises:
        InputError: If the path is a folder, or exists and may not be replaced.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of the .tflite file.")
    _files.check_output(path, overwrite=options.overwrite)
    _files.check_output(record_path(path), overwrite=options.overwrite)


def _verify_and_write(
    session: Session,
    paths: Mapping[str, Path],
    converted: Mapping[str, Converted],
    crashed: frozenset[str],
    asked: str | None,
) -> _Made:
    options = session.prepared.options
    exports: dict[str, ExportRecord] = {}
    failed: dict[str, ExportRecord] = {}
    rejected: dict[str, str] = {}
    impossible: dict[str, str] = {}
    for name, path in paths.items():
        made = converted[name]
        if made.path is None:
            impossible[name] = made.error or "the converter wrote no file"
            continue
        prepared, loops = session.prepared, name in crashed
        if loops or asked is not None:
            prepared = prepared.warned(_about_loops(asked or name, None if loops else name))
        try:
            probe, produced = session.run(made.path)
        except InputError as error:
            rejected[name] = str(error).replace(str(made.path), path.name)
            continue
        verification = session.verify(produced, _rule(prepared, name))
        record = make_record(
            prepared, name, path, made.path, made.seconds, probe, verification,
            asked=asked, unrolled=loops,
        )  # fmt: skip
        wrong = verification.verdict == "failed"
        if wrong:
            rejected[name] = "; ".join(verification.failures)
        if not wrong or options.keep_failed:
            write_export(path, made.path, record, overwrite=options.overwrite)
        (failed if wrong else exports)[name] = record
    result = ExportSet(exports=exports, rejected=rejected, impossible=impossible)
    return _Made(result, failed, crashed)


def _about_loops(asked: str, made: str | None) -> str:
    text = f"the converter crashed on the loops of recurrent layers while making {asked}"
    if made is None:
        return f"{text}: the loops are unrolled"
    return f"{text}, and unrolling them did not help: the file is {made}"


def _rule(prepared: Prepared, name: str) -> Rule:
    return Rule.of_precision(
        name,
        limit=(prepared.options.limits or {}).get(name),
        max_drop=prepared.options.max_drop,
        min_agreement=prepared.options.min_agreement,
        compressed=prepared.reference is not None,
    )


def write_export(path: Path, file: Path, record: ExportRecord, *, overwrite: bool) -> None:
    """Writes a file and its record. If the record cannot be written, the file is not either."""
    with _files.atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(file.read_bytes())
        record.save(record_path(path), overwrite=overwrite)
