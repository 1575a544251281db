"""`keras-distill export MODEL -o OUT`: writes verified `.tflite` files."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_distill._internal import InputError, VerificationError
from keras_distill.cli import _next, _precision
from keras_distill.cli._console import print_json, print_line, print_next, print_table
from keras_distill.cli._options import (
    DataDir,
    Imports,
    Json,
    OptionalData,
    Overwrite,
    Strict,
    choice,
    output,
    strict_spec,
)
from keras_distill.cli._verb import BAD_INPUT, DONE, VERIFICATION_FAILED, uses_tensorflow, verb_main

if TYPE_CHECKING:
    from keras_distill.records import ExportRecord, ExportSet, OutputVerification

_ALL, _AUTO = "all", "auto"


@uses_tensorflow
def command(
    model: Annotated[Path, typer.Argument(help="A .keras file or a SavedModel folder.")],
    *,
    out: Annotated[Path, output("The .tflite file; for several precisions, a folder.")],
    quantization: Annotated[
        str,
        typer.Option(
            "--quantization",
            help="float32, float16, dynamic, int8, int16x8, weight-only-int8, weight-only-int4;"
            " several separated by commas; all; or auto: the smallest file within --max-drop.",
        ),
    ] = "float32",
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Data set, such as digits, whose training rows set the ranges of int8 and int16x8."
        ),
    ] = None,
    calibration_samples: Annotated[
        int, typer.Option(help="Maximum number of calibration rows.")
    ] = 200,
    data: OptionalData = None,
    verification_samples: Annotated[
        int, typer.Option(help="Maximum number of verification rows.")
    ] = 1000,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Maximum loss of accuracy, in points.",
            show_default="1",
        ),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(help="Minimum share of predictions that are those of the model, 0..1."),
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option(help="With auto: maximum size of the file.")
    ] = None,
    max_latency_ratio: Annotated[
        float | None,
        typer.Option(help="With auto: maximum latency over that of the float32 file."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="With auto: also train for int8 on the soft targets of this .keras or .tflite"
            " file, if a smaller file needs it."
        ),
    ] = None,
    targets: Annotated[
        Path | None,
        typer.Option(help="With auto: the same with a soft-target store of the training rows."),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Fold a temperature into the last layer, so that probabilities can be trusted.",
        ),
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Write a page on how sensitive each layer is to quantization, and no file.",
        ),
    ] = False,
    limit: Annotated[
        float | None,
        typer.Option(help="Maximum difference to Keras's outputs, as a fraction of their range."),
    ] = None,
    data_dir: DataDir = None,
    strict: Strict = False,
    batch_size: Annotated[int, typer.Option(help="Rows per call of the file.")] = 1,
    dynamic_batch: Annotated[
        bool, typer.Option("--dynamic-batch", help="Accept any number of rows per call.")
    ] = False,
    io: Annotated[
        str,
        choice("--io", "integer", "float32", help="Input and output type of an integer file."),
    ] = "integer",
    sparse: Annotated[
        bool, typer.Option("--sparse", help="Store a float32 or float16 file without its zeros.")
    ] = False,
    strip: Annotated[
        bool, typer.Option("--strip", help="Leave out metadata, labels, and inner names.")
    ] = False,
    imports: Imports,
    keep_failed: Annotated[
        bool, typer.Option("--keep-failed", help="Keep files that fail verification.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Time limit of one conversion, seconds.")] = 900.0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Convert a model, compare the file with it, and write the file and its record.

    The file is verified on the validation rows of --data, by default those of --calibration.
    Without either, its verdict is "not verified on data". Exit code 1: a file fails verification.
    Exit code 2: bad input, or a precision named on the command line that this model does not
    support; with `all`, unsupported precisions are only reported.

    \b
    Example:
      keras-distill export student.keras -o student.tflite --quantization int8 \\
          --calibration digits
    """
    from keras_distill.export import QUANTIZATIONS, export_all, export_tflite

    auto = quantization == _AUTO
    _check_auto(
        auto,
        max_bytes=max_bytes,
        max_latency_ratio=max_latency_ratio,
        teacher=teacher,
        targets=targets,
    )
    calibration = calibration and strict_spec(calibration, strict)
    data = data and strict_spec(data, strict)
    names = list(QUANTIZATIONS) if quantization == _ALL else quantization.split(",")
    options: dict[str, Any] = {
        "calibration": calibration,
        "calibration_samples": calibration_samples,
        "data": data or calibration,
        "verification_samples": verification_samples,
        "max_drop": max_drop,
        "min_agreement": min_agreement,
        "limits": None if limit is None else dict.fromkeys(names, limit),
        "data_dir": data_dir,
        "batch_size": None if dynamic_batch else batch_size,
        "io": io,
        "sparse": sparse,
        "strip": strip,
        "imports": tuple(imports),
        "keep_failed": keep_failed,
        "timeout": timeout,
        "overwrite": overwrite,
        "report": None if as_json else print_line,
    }
    if explain:
        return _precision.explain(model, out, {**options, "max_drop": None}, as_json)
    source = _calibrated(model, options) if calibrate else model
    if auto:
        limits = {"max_bytes": max_bytes, "max_latency_ratio": max_latency_ratio}
        options["limits"] = None
        return _precision.export_auto(
            source, out, limits=limits, teacher=teacher, targets=targets, options=options,
            as_json=as_json,
        )  # fmt: skip
    rows = data or calibration
    where = [] if rows is None else _next.data_words(rows, data_dir, imports)
    quantize = _next.quantize(model, out, where)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the records carry them
        if len(names) == 1:
            try:
                record = export_tflite(source, out, quantization=names[0], **options)
            except VerificationError:
                if names[0] == "int8" and quantize and not as_json:
                    print_next(*quantize)
                raise
            if as_json:
                print_json(record)
            else:
                _print_exports([record])
                _print_verdict([record])
                if record.verification.passed and where:
                    print_next("keras-distill", "benchmark", model, out, *where)
            return DONE
        if out.suffix == ".tflite":
            raise InputError(f"`--output` must be a folder for several precisions. Received: {out}")
        result = export_all(source, out, quantizations=names, stem=model.stem, **options)
    if as_json:
        print_json(result)
    else:
        _print_set(result)
        if "int8" in result.rejected and quantize:
            print_next(*quantize)
        elif result.exports and where:
            files = [out / record.file for record in result.exports.values()]
            print_next("keras-distill", "benchmark", model, *files, *where)
    if result.rejected:
        return VERIFICATION_FAILED
    named = quantization != _ALL
    return BAD_INPUT if (result.impossible and named) or not result.exports else DONE


def _check_auto(auto: bool, **options: Any) -> None:
    """Refuses options of `auto` without it."""
    for name, value in options.items():
        if value is not None and not auto:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"`{flag}` needs --quantization auto. Leave it out, or add that.")


def _calibrated(model: Path, options: dict[str, Any]) -> Any:
    """Returns the model with a temperature in its last layer; `options` verify against MODEL."""
    from keras_distill.export import ExportOptions
    from keras_distill.precision import calibrate

    report = options["report"]
    made = calibrate(model, ExportOptions(**options))
    options |= vars(made.options)
    if report is not None:
        found = made.record
        rows = f"{found.samples} rows ({found.source})"
        report(f"temperature {found.temperature:.3f}, fitted on {rows}, folded into the last layer")
    return made.model


def _print_set(result: "ExportSet") -> None:
    records = list(result.exports.values())
    _print_exports(records)
    for name, reason in result.rejected.items():
        print_line(f"{name} fails verification: {reason}.", style="red")
    for name, reason in result.impossible.items():
        print_line(f"{name} is not supported: {reason}.", style="yellow")
    _print_verdict(records)


def _print_exports(records: "list[ExportRecord]") -> None:
    if not records:
        return
    columns = ("file", "bytes", "gzip", "difference", "agreement", *_scores(records))
    print_table(columns, [_row(record) for record in records])
    for text in dict.fromkeys(text for record in records for text in record.warnings):
        print_line(f"Note: {text}.")


def _print_verdict(records: "list[ExportRecord]") -> None:
    """Prints the verdict, which the files of one command share where they have one."""
    for record in records:
        if record.verification.too_few:
            print_line(f"{record.file}: {record.verification.statement}.", style="yellow")
    shared = [one.verification for one in records if not one.verification.too_few]
    if not shared:
        return
    verification = shared[0]
    if not verification.passed:
        text = verification.statement
        print_line(f"{text[0].upper()}{text[1:]}.", style="yellow")
        return
    rows = f"Verified on {verification.samples} rows ({verification.source})"
    if verification.max_drop is None:
        print_line(f"{rows}: outputs compared; accuracy was not measured (no labels).")
    else:
        print_line(f"{rows}; {verification.allowance}.")


def _scores(records: "list[ExportRecord]") -> tuple[str, str]:
    """Returns the titles of the metric of the files, and of that of the model."""
    metric = _shown_output(records[0]).metric
    return metric, f"Keras {metric}"


def _shown_output(record: "ExportRecord") -> "OutputVerification":
    """Returns the output that loses most, else the one that differs most."""
    found = record.verification
    return found.worst or max(found.outputs, key=lambda output: output.relative_difference or 0.0)


def _row(record: "ExportRecord") -> tuple[str, ...]:
    """Returns the table cells of one file."""
    from keras_distill.records import shown_score

    worst = _shown_output(record)
    judged = worst.judged
    return (
        record.file,
        f"{record.bytes:,}",
        f"{record.gzip_bytes:,}",
        f"{worst.max_difference or 0.0:.2g} ({worst.relative_difference or 0.0:.2%})",
        "" if worst.agreement is None else f"{worst.agreement:.2%}",
        shown_score(worst.metric, judged.file),
        shown_score(worst.metric, judged.reference),
    )


main = verb_main(command, "keras-distill export")
