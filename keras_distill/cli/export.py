"""`keras-distill export MODEL -o OUT`: a verified `.tflite` file in the precision asked for."""

import warnings
from pathlib import Path
from typing import Any

import typer

from keras_distill._internal import InputError
from keras_distill.cli._verb import BAD_INPUT, DONE, VERIFICATION_FAILED, uses_tensorflow, verb_main

_ALL = "all"


@uses_tensorflow
def command(
    model: Path = typer.Argument(..., help="A .keras file or a SavedModel folder."),
    out: Path = typer.Option(
        ..., "--output", "-o", help="The .tflite file; for several precisions, a folder."
    ),
    quantization: str = typer.Option(
        "float32",
        "--quantization",
        "-q",
        help="float32, float16, dynamic, int8, int16x8, weight-only-int8, weight-only-int4;"
        " several by comma; or all.",
    ),
    calibration: str = typer.Option(
        None, help="Data set whose training rows int8 and int16x8 measure ranges on: digits, …"
    ),
    calibration_samples: int = typer.Option(200, help="The most rows to calibrate on."),
    data: str = typer.Option(
        None, help="Data set whose validation rows judge the file. [as --calibration]"
    ),
    verification_samples: int = typer.Option(1000, help="The most rows to judge by."),
    max_drop: float = typer.Option(None, help="The most accuracy points the file may lose."),
    limit: float = typer.Option(
        None, help="How far outputs may be from Keras's, as a share of their range."
    ),
    data_dir: Path = typer.Option(None, help="Folder of prepared TFDS data sets."),
    batch_size: int = typer.Option(1, help="Rows per call."),
    dynamic_batch: bool = typer.Option(False, help="Leave the number of rows per call open."),
    io: str = typer.Option("integer", help="What an integer file takes: integer or float32."),
    sparse: bool = typer.Option(False, help="Leave zeros out of a float32 or float16 file."),
    imports: list[str] = typer.Option([], "--import", help="Module that registers layers."),
    keep_failed: bool = typer.Option(False, help="Keep a file that fails verification."),
    timeout: float = typer.Option(900.0, help="Seconds that one conversion may take."),
    overwrite: bool = typer.Option(False, help="Replace files that stand there."),
    as_json: bool = typer.Option(False, "--json", help="Print the record and nothing else."),
) -> int:
    """Convert, run, compare with the model, and only then write the file and its record.

    Exit code 1: a file fails verification. 2: bad input, or a precision named here that this
    model does not support; with `all` such precisions are reported and do not count.
    """
    from keras_distill.export import QUANTIZATIONS, export_all, export_tflite

    names = list(QUANTIZATIONS) if quantization == _ALL else quantization.split(",")
    options: dict[str, Any] = {
        "calibration": calibration,
        "calibration_samples": calibration_samples,
        "data": data or calibration,
        "verification_samples": verification_samples,
        "max_drop": max_drop,
        "limits": None if limit is None else dict.fromkeys(names, limit),
        "data_dir": data_dir,
        "batch_size": None if dynamic_batch else batch_size,
        "io": io,
        "sparse": sparse,
        "imports": tuple(imports),
        "keep_failed": keep_failed,
        "timeout": timeout,
        "overwrite": overwrite,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the records carry them
        if len(names) == 1:
            record = export_tflite(model, out, quantization=names[0], **options)
            _show({names[0]: record}, {}, {}, record, as_json)
            return DONE
        if out.suffix == ".tflite":
            raise InputError(f"`--output` must be a folder for several precisions. Received: {out}")
        result = export_all(model, out, quantizations=names, stem=model.stem, **options)
    _show(result.exports, result.rejected, result.impossible, result, as_json)
    if result.rejected:
        return VERIFICATION_FAILED
    named = quantization != _ALL
    return BAD_INPUT if (result.impossible and named) or not result.exports else DONE


def _show(exports: dict, rejected: dict, impossible: dict, record: Any, as_json: bool) -> None:
    if as_json:
        print(record.model_dump_json(indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=None)
    for title in ("file", "bytes", "gzip", "difference", "agreement", "accuracy", "Keras"):
        name = title == "file"
        table.add_column(title, justify="left" if name else "right", no_wrap=not name)
    for made in exports.values():
        table.add_row(
            made.file, f"{made.bytes:,}", f"{made.gzip_bytes:,}", *_figures(made.verification)
        )
    if exports:
        console.print(table)
        verification = next(iter(exports.values())).verification
        console.print(f"Judged on {verification.samples} rows: {verification.source}.", style="dim")
    for text in dict.fromkeys(text for made in exports.values() for text in made.warnings):
        console.print(f"Note: {text}.", highlight=False)
    for name, reason in rejected.items():
        console.print(f"[red]{name} fails verification:[/red] {reason}.", highlight=False)
    for name, reason in impossible.items():
        console.print(f"[yellow]{name} cannot be had:[/yellow] {reason}.", highlight=False)


def _figures(verification: Any) -> tuple[str, ...]:
    """The worst of the outputs, as table cells."""
    worst = max(verification.outputs, key=lambda output: output.relative_difference)
    shares = (worst.agreement, worst.accuracy, worst.accuracy_keras)
    return (
        f"{worst.max_difference:.2g} ({worst.relative_difference:.2%})",
        *("" if share is None else f"{share:.2%}" for share in shares),
    )


main = verb_main(command, "keras-distill export")
