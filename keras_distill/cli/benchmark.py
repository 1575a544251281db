"""`keras-distill benchmark TEACHER STUDENT …`: size, latency and quality side by side."""

import io
import warnings
from pathlib import Path

import typer

from keras_distill._internal import InputError
from keras_distill.cli._verb import uses_tensorflow, verb_main


def _threads(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"`--threads` must be counts by comma, such as 1,2. Received: {text!r}"
        ) from None


@uses_tensorflow
def command(
    models: list[Path] = typer.Argument(
        ..., help="The teacher first; .keras and .tflite files, SavedModel folders."
    ),
    data: str = typer.Option(None, help="Data set for the quality: digits, tfds:mnist, …"),
    split: str = typer.Option("test", help="train, validation or test."),
    samples: int = typer.Option(None, help="The most rows to judge quality by. [all]"),
    data_dir: Path = typer.Option(None, help="Folder of prepared TFDS data sets."),
    threads: str = typer.Option("1", help="Interpreter threads, by comma."),
    runs: int = typer.Option(50, help="Timed calls of each model."),
    batch_size: int = typer.Option(32, help="Rows per call of the batched measurement."),
    in_keras: bool = typer.Option(True, help="Measure Keras models in Keras as well."),
    imports: list[str] = typer.Option([], "--import", help="Module that registers layers."),
    markdown: Path = typer.Option(None, help="Write the tables to this file, as Markdown."),
    plot: Path = typer.Option(None, help="Draw size and latency against accuracy: .png or .svg."),
    overwrite: bool = typer.Option(False, help="Replace files that stand there."),
    as_json: bool = typer.Option(False, "--json", help="Print the record and nothing else."),
) -> None:
    """Measure size, latency and quality of models; the first is the one compared with.

    Models take turns call by call, so that a noisy machine is fair to all. A Keras model is
    measured in Keras and as the float32 .tflite file it converts to.
    """
    from keras_distill._internal import _files
    from keras_distill.benchmarks import _tables, benchmark, figure

    if plot is not None and data is None:
        raise InputError("`--plot` shows accuracy, so it needs `--data`.")
    if plot is not None and plot.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"`--plot` must end in .png, .svg or .pdf. Received: {plot}")
    for path in filter(None, (markdown, plot)):
        _files.check_output(path, overwrite=overwrite)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the record carries them
        record = benchmark(
            models,
            data,
            split=split,
            samples=samples,
            data_dir=data_dir,
            imports=tuple(imports),
            threads=_threads(threads),
            runs=runs,
            batch_size=batch_size,
            in_keras=in_keras,
        )
    if markdown is not None:
        _files.write_text(markdown, _tables.markdown(record), overwrite=overwrite)
    if plot is not None:
        drawn = io.BytesIO()
        figure(record).savefig(drawn, format=plot.suffix[1:], dpi=150)
        _files.write_bytes(plot, drawn.getvalue(), overwrite=overwrite)
    if as_json:
        print(record.model_dump_json(indent=2))
    else:
        _show(record)


def _show(record) -> None:
    from rich.console import Console
    from rich.table import Table

    from keras_distill.benchmarks import _tables

    console = Console()
    for title, columns, rows in _tables.sections(record):
        table = Table(title=title, box=None, title_justify="left", title_style="bold")
        for column in columns:
            text = column in _tables.TEXT_COLUMNS
            table.add_column(
                column, justify="left" if text else "right", overflow="fold" if text else "ellipsis"
            )
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in _tables.notes(record):
        console.print(line, style="dim", highlight=False)


main = verb_main(command, "keras-distill benchmark")
