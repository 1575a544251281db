"""`keras-distill cost TEACHER STUDENT --data SPEC`: the price of distilling on this machine."""

from pathlib import Path
from typing import Any

import typer

from keras_distill._internal import InputError
from keras_distill.cli._verb import uses_tensorflow, verb_main


@uses_tensorflow
def command(
    teacher: str = typer.Argument(..., help="Model spec, .keras or .tflite file."),
    student: str = typer.Argument(..., help="Model spec or .keras file."),
    data: str = typer.Option(..., help="Data set: digits, tfds:cifar100, …"),
    data_dir: Path = typer.Option(None, help="Folder of prepared TFDS data sets."),
    split: str = typer.Option("train", help="train, validation or test."),
    examples: int = typer.Option(2560, help="The most examples of an epoch."),
    batch_size: int = typer.Option(128, help="Examples in a step."),
    rounds: int = typer.Option(100, help="Steps of plain fit and from the store."),
    epochs: int = typer.Option(0, help="Epochs of a whole fit, timed as well."),
    builds: int = typer.Option(0, help="Builds of the store, timed beside teacher.predict."),
    setting: str = typer.Option("both", help="oneDNN: onednn, tf-default, or both."),
    imports: list[str] = typer.Option([], "--import", help="Module that registers layers."),
    output: Path = typer.Option(None, "--output", "-o", help="Write the record to this file."),
    overwrite: bool = typer.Option(False, help="Replace a file that stands there."),
    as_json: bool = typer.Option(False, "--json", help="Print the record and nothing else."),
) -> None:
    """Time plain fit, ours from the store, ours online and keras.distillation, in turn.

    oneDNN as TensorFlow has it and as keras_distill sets it are two processes that take turns.
    """
    from keras_distill._internal import _files
    from keras_distill.benchmarks._cost import cost
    from keras_distill.benchmarks._cost_worker import SETTINGS

    if setting not in (*SETTINGS, "both"):
        raise InputError(f"`--setting` must be both, {' or '.join(SETTINGS)}. Received: {setting}")
    if output is not None:
        _files.check_output(output, overwrite=overwrite)
    with _bar() as report:
        record = cost(
            teacher,
            student,
            data,
            examples=examples,
            batch_size=batch_size,
            rounds=rounds,
            epochs=epochs,
            builds=builds,
            settings=SETTINGS if setting == "both" else (setting,),
            split=split,
            data_dir=data_dir,
            imports=tuple(imports),
            report=report,
        )
    if output is not None:
        record.save(output, overwrite=overwrite)
    if as_json:
        print(record.model_dump_json(indent=2))
    else:
        _show(record)


class _bar:
    """A bar on stderr; the value is a function of (done, total)."""

    def __enter__(self) -> Any:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._progress = Progress(
            console=console, transient=True, disable=not console.is_terminal
        ).__enter__()
        task = self._progress.add_task("rounds", total=None)
        return lambda done, total: self._progress.update(task, completed=done, total=total)

    def __exit__(self, *exception: Any) -> None:
        self._progress.__exit__(*exception)


def _show(record: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from keras_distill.benchmarks._cost_tables import sections

    console = Console()
    for title, columns, rows in sections(record):
        table = Table(title=title, box=None, title_justify="left", title_style="bold")
        for i, column in enumerate(columns):
            table.add_column(column, justify="right" if i else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for note in (*record.notes, f"{record.machine}; {record.examples} examples"):
        console.print(note, style="dim", highlight=False)


main = verb_main(command, "keras-distill cost")
