"""`keras-distill benchmark TEACHER STUDENT …`: measures size, latency, and quality."""

import warnings
from pathlib import Path
from typing import Annotated

import typer

from keras_distill._internal import InputError, _files
from keras_distill.cli import _next
from keras_distill.cli._console import print_json, print_line, print_next, print_table
from keras_distill.cli._options import (
    DataDir,
    Imports,
    Json,
    OptionalData,
    Overwrite,
    Split,
    Strict,
    Targets,
    strict_spec,
)
from keras_distill.cli._verb import uses_tensorflow, verb_main


def _threads(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"`--threads` must be counts separated by commas, such as 1,2. Received: {text!r}"
        ) from None


@uses_tensorflow
def command(
    models: Annotated[
        list[Path],
        typer.Argument(help="The teacher first; .keras and .tflite files, SavedModel folders."),
    ],
    *,
    data: OptionalData = None,
    split: Split = "test",
    samples: Annotated[
        int | None, typer.Option(help="Maximum number of rows for the quality.", show_default="all")
    ] = None,
    data_dir: DataDir = None,
    strict: Strict = False,
    threads: Annotated[
        str, typer.Option(help="Numbers of interpreter threads, separated by commas.")
    ] = "1",
    runs: Annotated[int, typer.Option(help="Timed calls per model.")] = 50,
    batch_size: Annotated[int, typer.Option(help="Rows per call of the batched measurement.")] = 32,
    in_keras: Annotated[bool, typer.Option(help="Measure Keras models in Keras too.")] = True,
    targets: Targets,
    imports: Imports,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the tables to this file, as Markdown.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Plot size and latency against accuracy: .png or .svg.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write the results to this file, as an HTML page.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure size, latency, and quality of models; the first model is the baseline.

    The models take turns call by call, so that load on the machine affects all alike. A Keras model
    is measured in Keras and as the float32 .tflite file it converts to.

    \b
    Example:
      keras-distill benchmark teacher.keras student.keras student.tflite --data digits
    """
    from keras_distill import benchmarks, report

    if plot is not None and data is None:
        raise InputError("`--plot` shows accuracy, so it needs `--data`.")
    if plot is not None and plot.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"`--plot` must end in .png, .svg, or .pdf. Received: {plot}")
    for path in filter(None, (markdown, plot, page)):
        _files.check_output(path, overwrite=overwrite)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the record carries them
        record = benchmarks.benchmark(
            models,
            data and strict_spec(data, strict),
            split=split,
            samples=samples,
            data_dir=data_dir,
            imports=tuple(imports),
            threads=_threads(threads),
            runs=runs,
            batch_size=batch_size,
            in_keras=in_keras,
            targets=targets,
        )
    if markdown is not None:
        _files.write_text(markdown, benchmarks.benchmark_markdown(record), overwrite=overwrite)
    if plot is not None:
        drawn = report.benchmark_picture(record, plot.suffix[1:])
        _files.write_bytes(plot, drawn, overwrite=overwrite)
    if page is not None:
        _files.write_text(page, report.render_benchmark(record), overwrite=overwrite)
    if as_json:
        print_json(record)
        return
    for title, columns, rows in benchmarks.benchmark_sections(record):
        print_table(columns, rows, title=title, text_columns=benchmarks.TEXT_COLUMNS)
    for line in benchmarks.benchmark_notes(record):
        print_line(line, style="dim")
    for path in filter(None, (markdown, plot, page)):
        print_line(f"Wrote {path}.")
    where = [] if data is None else _next.data_words(data, data_dir)
    files = [path for path in models if path.suffix == ".tflite"]
    if page is not None:
        print_next(*_next.open_page(page))
    elif files:
        print_next("keras-distill", "device", files[-1], *where)
    elif data is not None:
        model = models[-1]
        words = ["keras-distill", "export", model, "-o", model.with_suffix(".tflite")]
        print_next(*words, "--quantization", "int8", "--calibration", *where[1:])


main = verb_main(command, "keras-distill benchmark")
