"""The options that several verbs share, each defined once.

Use an alias as the annotation of a keyword-only parameter and give the default in the signature:
`def command(*, data: Data, data_dir: DataDir = None, imports: Imports)`.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

_DATA = typer.Option("--data", help="Data set, such as digits, tfds:mnist, or images:DIR.")
Data = Annotated[str, _DATA]
OptionalData = Annotated[str | None, _DATA]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of prepared TFDS data sets.")
]
Split = Annotated[str, typer.Option("--split", help="train, validation, or test.")]

_BATCH_SIZE = typer.Option("--batch-size", help="Examples per step.")
BatchSize = Annotated[int, _BATCH_SIZE]
OptionalBatchSize = Annotated[int | None, _BATCH_SIZE]

# The list of modules is empty by default, so it takes no default in the signature.
Imports = Annotated[
    list[str],
    typer.Option(
        "--import",
        default_factory=list,
        show_default=False,
        help="Module that registers custom layers; may be repeated.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def output(help: str) -> Any:
    """Returns the option `--output`, `-o` with the `help` of one verb."""
    return typer.Option("--output", "-o", help=help)
