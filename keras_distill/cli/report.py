"""`keras-distill report RUN`: writes the page of a run from its record."""

from pathlib import Path
from typing import Annotated

import typer

from keras_distill.cli._console import print_line
from keras_distill.cli._options import Overwrite, output
from keras_distill.cli._verb import verb_main


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a run, or its record.json.")],
    *,
    out: Annotated[Path | None, output("The page. [RUN/report.html]")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the HTML page of a run from its record. Needs no TensorFlow."""
    from keras_distill import report

    print_line(str(report.write(run, out, overwrite=overwrite)))


main = verb_main(command, "keras-distill report")
