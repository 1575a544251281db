"""What `keras-distill export` does with `--quantization auto` and `--explain`."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_distill._internal import InputError, VerificationError, _files
from keras_distill.cli import _next
from keras_distill.cli._console import print_json, print_line, print_next, print_table
from keras_distill.cli._soft_stream import soft_stream
from keras_distill.cli._verb import DONE

if TYPE_CHECKING:
    from keras_distill.precision import Training
    from keras_distill.records import PrecisionRecord

_EPOCHS, _BATCH, _RATE, _TEMPERATURE, _ALPHA = 10, 128, 3e-4, 4.0, 0.9
_SHOWN = 10  # groups of each kind


def export_auto(
    model: Path,
    out: Path,
    *,
    limits: dict[str, Any],
    teacher: str | None,
    targets: Path | None,
    options: dict[str, Any],
    as_json: bool,
) -> int:
    """Writes the smallest file that passes, and prints the table of the candidates."""
    from keras_distill import precision

    training = _training(teacher, targets, options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the record carries them
            record = precision.choose_tflite(
                model,
                out,
                **limits,
                training=training,
                progress=None if as_json else lambda text: print_line(text, style="dim"),
                **options,
            )
    except VerificationError as error:
        if error.record is not None:
            _print_table(error.record, as_json)
        raise
    if as_json:
        print_json(record)
        return DONE
    assert record.precision is not None  # the record of a choice
    _print_table(record.precision, as_json)
    for text in dict.fromkeys((*record.warnings, *record.precision.notes)):
        print_line(f"Note: {text}.")
    chosen, statement = record.precision.chosen, record.verification.statement
    print_line(f"{record.file}: {chosen}, {record.bytes:,} bytes.")
    print_line(f"{statement[0].upper()}{statement[1:]}.")
    where = (
        []
        if options["data"] is None
        else _next.data_words(options["data"], options["data_dir"], options["imports"])
    )
    print_next("keras-distill", "benchmark", model, out, *where)
    return DONE


def _print_table(record: "PrecisionRecord", as_json: bool) -> None:
    from keras_distill.report import CANDIDATE_COLUMNS, candidate_rows

    if as_json:
        print_json(record)
        return
    caption = (
        f"Lost: {record.metric} on {record.chosen_on_rows} rows ({record.chosen_on}), at most"
        f" {record.max_drop:g} points. Front: no file is better in bytes and loss."
    )
    print_table(
        CANDIDATE_COLUMNS,
        candidate_rows(record),
        caption=caption,
        text_columns=("file", "front", "result"),
    )


def _training(
    teacher: str | None, targets: Path | None, options: dict[str, Any]
) -> "Training | None":
    """Returns how a model is trained for int8 on soft targets; None without them."""
    if teacher is None and targets is None:
        return None
    if teacher is not None and targets is not None:
        raise InputError("Give `--targets` or `--teacher`, not both.")
    if not isinstance(options["data"], str):
        raise InputError("`--teacher` and `--targets` train on the rows of `--data`: give it.")
    from keras_distill import data
    from keras_distill.precision import Training
    from keras_distill.targets import SoftTargetStore

    splits = data.load(options["data"], data_dir=options["data_dir"], reads=("train", "validation"))
    store = None if targets is None else SoftTargetStore.open(targets)
    stream = soft_stream(splits, store, _BATCH, seed=0, temperature=_TEMPERATURE)
    settings = {
        "teacher": teacher,
        "alpha": _ALPHA,
        "temperature": _TEMPERATURE,
        "epochs": _EPOCHS,
        "learning_rate": _RATE,
        "steps_per_epoch": -(-int(splits.train.cardinality()) // _BATCH),
    }
    return Training(stream, settings)


def explain(model: Path, out: Path, options: dict[str, Any], as_json: bool) -> int:
    """Writes the page of the sensitivity of a model, and its record, and prints tables."""
    from keras_distill import precision, report

    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"`--explain` writes a page: give -o PAGE.html. Received: {out}")
    overwrite = options["overwrite"]
    _files.check_output(out, overwrite=overwrite)
    record_file = out.with_suffix(".json")
    _files.check_output(record_file, overwrite=overwrite)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = precision.explain(
            model,
            progress=None if as_json else lambda text: print_line(text, style="dim"),
            **{**options, "calibration": options["calibration"] or options["data"]},
        )
    with _files.atomic_path(out, overwrite=overwrite) as temporary:
        temporary.write_text(report.render_explain(record), encoding="utf-8")
        record.save(record_file, overwrite=overwrite)
    if as_json:
        print_json(record)
        return DONE
    print_table(
        report.SENSITIVITY_COLUMNS,
        report.sensitivity_rows(record.sensitivity, _SHOWN),
        caption=f"The {_SHOWN} most sensitive of each kind; all of them are on the page.",
        text_columns=report.SENSITIVITY_COLUMNS[:3],
    )
    print_table(
        report.CALIBRATION_COLUMNS,
        report.calibration_rows(record),
        title="Ways to find the scales of int8",
        text_columns=report.CALIBRATION_COLUMNS[:3],
    )
    print_line(f"Page: {out}")
    print_next(*_next.open_page(out))
    return DONE
