"""`keras-distill cost TEACHER STUDENT --data SPEC`: measures the cost of distilling."""

from pathlib import Path
from typing import Annotated

import typer

from keras_distill._internal import InputError, _files
from keras_distill.cli import _next
from keras_distill.cli._console import print_json, print_line, print_next, print_table
from keras_distill.cli._options import (
    BatchSize,
    Data,
    DataDir,
    Imports,
    Json,
    Overwrite,
    Split,
    choice,
    output,
)
from keras_distill.cli._verb import uses_tensorflow, verb_main


@uses_tensorflow
def command(
    teacher: Annotated[str, typer.Argument(help="Model spec, .keras or .tflite file.")],
    student: Annotated[str, typer.Argument(help="Model spec or .keras file.")],
    *,
    data: Data,
    data_dir: DataDir = None,
    split: Split = "train",
    examples: Annotated[int, typer.Option(help="Maximum number of examples per epoch.")] = 2560,
    batch_size: BatchSize = 128,
    rounds: Annotated[int, typer.Option(help="Steps of plain fit and from the store.")] = 100,
    epochs: Annotated[int, typer.Option(help="Epochs of a whole fit, timed too.")] = 0,
    builds: Annotated[
        int, typer.Option(help="Builds of the store, timed together with teacher.predict.")
    ] = 0,
    setting: Annotated[
        str, choice("--setting", "onednn", "tf-default", "both", help="Setting of oneDNN.")
    ] = "both",
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="Also time plain training in mixed_bfloat16.")
    ] = False,
    imports: Imports,
    out: Annotated[Path | None, output("Write the record to this file.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Time plain fit, from the store, online, and keras.distillation, taking turns.

    TensorFlow's default of oneDNN and the setting of keras_distill are two processes that take
    turns.

    \b
    Example:
      keras-distill cost resnet:56 resnet:20 --data tfds:cifar100
    """
    from keras_distill import benchmarks
    from keras_distill._internal._progress import TerminalReporter

    settings = benchmarks.SETTINGS
    if setting not in (*settings, "both"):
        raise InputError(f"`--setting` must be both, {' or '.join(settings)}. Received: {setting}")
    if out is not None:
        _files.check_output(out, overwrite=overwrite)
    with TerminalReporter() as reporter:
        record = benchmarks.cost(
            teacher,
            student,
            data,
            examples=examples,
            batch_size=batch_size,
            rounds=rounds,
            epochs=epochs,
            builds=builds,
            settings=settings if setting == "both" else (setting,),
            variants=benchmarks.VARIANTS if bfloat16 else benchmarks.USUAL_VARIANTS,
            split=split,
            data_dir=data_dir,
            imports=tuple(imports),
            report=reporter.track("rounds"),
        )
    if out is not None:
        record.save(out, overwrite=overwrite)
    if as_json:
        print_json(record)
        return
    for title, columns, rows in benchmarks.cost_sections(record):
        print_table(columns, rows, title=title)
    for note in (*record.notes, f"{record.machine}; {record.examples} examples"):
        print_line(note, style="dim")
    if out is not None:
        print_line(f"Wrote {out}.")
    words = ["keras-distill", "run", "--teacher", teacher, "--student", student]
    print_next(*words, *_next.data_words(data, data_dir, imports))


main = verb_main(command, "keras-distill cost")
