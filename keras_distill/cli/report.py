"""`keras-distill report PATH`: writes the page of a record."""

from pathlib import Path
from typing import Annotated

import typer

from keras_distill.cli import _next
from keras_distill.cli._console import print_line, print_next
from keras_distill.cli._options import Overwrite, output
from keras_distill.cli._verb import verb_main


def command(
    path: Annotated[
        Path,
        typer.Argument(
            help="The folder of a run or of specialists, or a record: record.json,"
            " evaluation.json, or what `benchmark --json` printed."
        ),
    ],
    *,
    out: Annotated[Path | None, output("The page.", show_default="beside the record")] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Write the model card of a run, as Markdown, instead.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write the HTML page of a record. Needs no TensorFlow.

    The page beside the record is made again in place; any other existing file is replaced only with
    --overwrite.

    \b
    Example:
      keras-distill report saved_models/digits --open
    """
    from keras_distill import report

    write = report.write_card if card else report.write
    page = write(path, out, overwrite=overwrite)
    print_line(str(page))
    if open_page:
        import webbrowser

        if not webbrowser.open(page.resolve().as_uri()):
            print_line("No browser was found. Open the file above in one.")
    elif not card:
        print_next(*_next.open_page(page))


main = verb_main(command, "keras-distill report")
