"""`keras-distill report RUN`: the page of a run, made again from its record."""

from pathlib import Path

import typer

from keras_distill.cli._verb import verb_main


def command(
    run: Path = typer.Argument(..., help="The folder of a run, or its record.json."),
    output: Path = typer.Option(None, "-o", "--output", help="The page. [RUN/report.html]"),
    overwrite: bool = typer.Option(False, help="Replace a page that stands there."),
) -> None:
    """Write the HTML page of a run from its record; needs no TensorFlow."""
    from keras_distill import report

    page = report.write(run, output, overwrite=overwrite)
    print(page)


main = verb_main(command, "keras-distill report")
