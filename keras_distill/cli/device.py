"""`keras-distill device FILE.tflite`: tries a file for microcontrollers, NPUs, and XNNPACK."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_distill._internal import InputError, VerificationError, _files
from keras_distill.cli._console import print_facts, print_json, print_line, print_next
from keras_distill.cli._options import (
    DataDir,
    Json,
    OptionalData,
    Overwrite,
    Split,
    Targets,
    output,
)
from keras_distill.cli._verb import DONE, import_tensorflow, verb_main

if TYPE_CHECKING:
    from keras_distill.records import DeviceRecord

_SUFFIXES = {"Python": ".py", "C++": ".cc", "Kotlin": ".kt", "Swift": ".swift"}


def command(
    file: Annotated[Path, typer.Argument(help="The .tflite file.")],
    *,
    targets: Targets,
    data: OptionalData = None,
    split: Split = "test",
    samples: Annotated[int, typer.Option(help="Maximum number of rows to compare on.")] = 200,
    data_dir: DataDir = None,
    clock: Annotated[
        float | None,
        typer.Option(
            help="Clock of an NPU in MHz, for the milliseconds.", show_default="that of Vela"
        ),
    ] = None,
    c_array: Annotated[
        Path | None,
        typer.Option(help="Write model.h, model.cc, and main.cc for TFLM into this folder."),
    ] = None,
    snippets: Annotated[
        Path | None,
        typer.Option(help="Write Python, C++, Kotlin, and Swift code into this folder."),
    ] = None,
    out: Annotated[Path | None, output("Write the record to this file.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Try a .tflite file for its devices: does it run, with how much memory, how fast.

    Without --target: tflm, ethos-u55-128, and xnnpack. Without --data, the outputs are compared on
    random rows. Exit code 1: a target does not take the file; the operator is named, and everything
    is written all the same.

    \b
    Example:
      keras-distill device student-int8.tflite
      keras-distill device student-int8.tflite --target tflm --c-array firmware
    """
    from keras_distill import device

    for path, folder in ((out, False), (c_array, True), (snippets, True)):
        if path is not None:
            _files.check_output(path, overwrite=overwrite, folder=folder)
    if data is not None:
        import_tensorflow()
    record = device.check_device(
        file, targets, data, split=split, samples=samples, data_dir=data_dir, clock_mhz=clock
    )
    if snippets is not None and not record.snippets:
        raise InputError(
            f"{file}: `--snippets` writes code for files with one input and one output of numbers."
            " Leave it out."
        )
    if c_array is not None:
        device.c_array(record, c_array, overwrite=overwrite)
    if snippets is not None:
        _write_snippets(record, snippets, overwrite)
    if out is not None:
        record.save(out, overwrite=overwrite)
    if as_json:
        print_json(record)
    else:
        _print(record)
        for path in filter(None, (c_array, snippets, out)):
            print_line(f"Wrote {path}.")
        if record.snippets and snippets is None:
            print_next("keras-distill", "device", file, "--snippets", file.with_suffix(".code"))
    if record.failures:
        raise VerificationError(f"{file}: {'; '.join(record.failures)}", record=record)
    return DONE


def _write_snippets(record: "DeviceRecord", folder: Path, overwrite: bool) -> None:
    stem = Path(record.file).stem
    with _files.atomic_path(folder, overwrite=overwrite, folder=True) as temporary:
        temporary.mkdir()
        for language, code in record.snippets.items():
            (temporary / f"{stem}{_SUFFIXES[language]}").write_text(code, encoding="utf-8")


def _print(record: "DeviceRecord") -> None:
    print_line(f"{record.file}, {record.bytes:,} bytes, {record.precision}", style="bold")
    print_facts(record.summary_rows())
    for text in record.notes():
        print_line(text, style="dim")


main = verb_main(command, "keras-distill device")
