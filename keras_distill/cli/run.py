"""`keras-distill run [RECIPE]`: from data to a verified `.tflite` file and a report."""

from pathlib import Path
from typing import Any

import typer

from keras_distill._internal import InputError
from keras_distill.cli._verb import DONE, VERIFICATION_FAILED, uses_tensorflow, verb_main


def _number(option: str, text: str | None) -> int | float | None:
    """A count (`100`) or a share (`0.1`), as the recipe takes it."""
    if text is None:
        return None
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise InputError(
            f"`{option}` must be a count such as 100 or a share such as 0.1. Received: {text!r}"
        ) from None


def _overrides(**options: Any) -> dict[str, Any]:
    return {key.replace("__", "."): value for key, value in options.items() if value is not None}


@uses_tensorflow
def command(
    recipe: str = typer.Argument(
        None, help="A built-in recipe (see `keras-distill recipes`) or a .toml file. [digits]"
    ),
    data: str = typer.Option(None, help="Data set: digits, tfds:mnist, images:DIR, …"),
    data_dir: Path = typer.Option(None, help="Folder of prepared TFDS data sets."),
    teacher: str = typer.Option(None, help="Model spec (trained), .keras or .tflite file (used)."),
    student: str = typer.Option(None, help="Model spec or .keras file."),
    labels: str = typer.Option(None, help="Labels the student sees: a count or a share. [all]"),
    alpha: float = typer.Option(None, help="Weight of the soft loss, 0..1. [0.9]"),
    temperature: float = typer.Option(None, help="Temperature of the soft targets. [4]"),
    epochs: int = typer.Option(None, help="Epochs of the student. [30]"),
    teacher_epochs: int = typer.Option(None, help="Epochs of the teacher. [as the student]"),
    batch_size: int = typer.Option(None, help="Examples per step. [128]"),
    optimizer: str = typer.Option(None, help="adam or sgd. [adam]"),
    learning_rate: float = typer.Option(None, help="At the start. [0.001]"),
    seeds: int = typer.Option(None, help="How many seeds: 0, 1, … [3]"),
    quantization: str = typer.Option(None, help="Precisions, by comma. [float32,int8]"),
    compress: str = typer.Option(
        None, help="Steps for the best student, by comma: prune:0.8,cluster:16,quantize. [none]"
    ),
    name: str = typer.Option(None, help="Name of the run, and of its folder."),
    out: Path = typer.Option(None, help="The run's folder. [saved_models/NAME]"),
    scale: str = typer.Option("full", help="full, or smoke: two steps of everything."),
    imports: list[str] = typer.Option([], "--import", help="Module that registers layers."),
    overwrite: bool = typer.Option(False, help="Replace a run that stands there."),
    as_json: bool = typer.Option(False, "--json", help="Print the record and nothing else."),
) -> int:
    """Train teacher and student, distil, export, compress if asked, benchmark, report.

    An interrupted run goes on where it stopped when the same command is given again.
    """
    from keras_distill._internal import _progress
    from keras_distill.runs import _recipes
    from keras_distill.runs._run import run

    overrides = _overrides(
        name=name,
        data__source=data,
        data__data_dir=None if data_dir is None else str(data_dir),
        data__labels=_number("--labels", labels),
        teacher__model=teacher,
        student__model=student,
        distillation__alpha=alpha,
        distillation__temperature=temperature,
        training__epochs=epochs,
        training__batch_size=batch_size,
        training__optimizer=optimizer,
        training__learning_rate=learning_rate,
        teacher__epochs=epochs if teacher_epochs is None else teacher_epochs,
        seeds=seeds,
        export__quantizations=None if quantization is None else quantization.split(","),
        compress__steps=None if compress is None else compress.split(","),
    )
    if recipe is None and data is not None:
        chosen = _recipes.from_scratch(overrides)
    else:
        chosen = _recipes.load(recipe or _recipes.DEFAULT, overrides)
    out = out or Path("saved_models") / chosen.name
    with _progress.TerminalReporter() as reporter:
        record = run(
            chosen,
            out,
            scale=scale,
            overwrite=overwrite,
            imports=tuple(imports),
            reporter=reporter,
        )
    if as_json:
        print(record.model_dump_json(indent=2))
    else:
        _show(record, out)
    failed = record.compress is not None and record.compress.failed is not None
    return VERIFICATION_FAILED if record.exports.rejected or failed else DONE


def _show(record, out: Path) -> None:
    from rich.console import Console

    from keras_distill.report import _summary

    console = Console()
    console.print(_summary.table(record))
    console.print(_summary.note(record), style="dim", highlight=False)
    for line in _summary.sentences(record):
        console.print(line, highlight=False)
    console.print(f"Everything is in {out}: open {out / 'report.html'}.", highlight=False)


main = verb_main(command, "keras-distill run")
