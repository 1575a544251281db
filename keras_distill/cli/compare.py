"""`keras-distill compare RUN_A RUN_B …`: what differs between runs, in settings and results."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_distill.cli import _next
from keras_distill.cli._console import print_json, print_line, print_next, print_table
from keras_distill.cli._options import Json, Overwrite, output
from keras_distill.cli._verb import verb_main

if TYPE_CHECKING:
    from keras_distill.records import CompareRecord


def command(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of two or more runs; the first is the reference.")
    ],
    *,
    out: Annotated[Path | None, output("An HTML page to write.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Show the settings that differ between runs, and paired differences in test accuracy.

    Differences are paired by seed; p-values are corrected for the number of tests by Holm's method.

    \b
    Example:
      keras-distill compare saved_models/digits saved_models/other -o compare.html
    """
    from keras_distill import report
    from keras_distill._internal import _files
    from keras_distill.runs import compare

    if out is not None:
        _files.check_output(out, overwrite=overwrite, folder=False)
    record = compare(runs)
    if out is not None:
        _files.write_text(out, report.render_compare(record), overwrite=overwrite)
    if as_json:
        print_json(record)
        return
    _print(record)
    if out is not None:
        print_line(f"Wrote {out}.")
        print_next(*_next.open_page(out))


def _print(record: "CompareRecord") -> None:
    from keras_distill import report

    columns, rows = report.compare_settings(record)
    print_table(columns, rows, title="Settings that differ", text_columns=columns)
    columns, rows = report.compare_results(record)
    print_table(columns, rows, title="Results", text_columns=columns[:2])
    for line in report.compare_sentences(record):
        print_line(line)


main = verb_main(command, "keras-distill compare")
