"""`keras-distill verify FILE --against REFERENCE --data SPEC`: verifies a file of any origin."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_distill._internal import VerificationError, _files
from keras_distill.cli import _next
from keras_distill.cli._console import print_json, print_line, print_next, print_table
from keras_distill.cli._options import Data, DataDir, Imports, Json, Overwrite, Split, output
from keras_distill.cli._verb import DONE, uses_tensorflow, verb_main

if TYPE_CHECKING:
    from keras_distill.records import VerifyRecord


@uses_tensorflow
def command(
    file: Annotated[Path, typer.Argument(help="The file to verify: .tflite, or .keras.")],
    *,
    against: Annotated[
        Path, typer.Option(help="The reference: a .tflite or .keras file, or a SavedModel folder.")
    ],
    data: Data,
    split: Split = "test",
    samples: Annotated[
        int | None, typer.Option(help="Maximum number of rows.", show_default="all")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Maximum loss of accuracy, in points.",
            show_default="1",
        ),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(
            help="Maximum difference of outputs, as a fraction of their range; required without"
            " labels."
        ),
    ] = None,
    data_dir: DataDir = None,
    imports: Imports,
    out: Annotated[Path | None, output("Write the record to this file.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Compare a file with a reference on labeled rows, whoever made the two.

    The file passes if it loses no more accuracy than --max-drop allows. Exit code 1: it fails, or
    the rows are too few to show such a loss; the record is written all the same.

    \b
    Example:
      keras-distill verify small.tflite --against big.tflite --data images:photos
    """
    from keras_distill.export import verify_tflite

    if out is not None:
        _files.check_output(out, overwrite=overwrite)
    record = verify_tflite(
        file,
        against,
        data,
        split=split,
        samples=samples,
        max_drop=max_drop,
        limit=limit,
        data_dir=data_dir,
        imports=tuple(imports),
    )
    if out is not None:
        record.save(out, overwrite=overwrite)
    if as_json:
        print_json(record)
    else:
        _print(record)
    verification = record.verification
    following = ["keras-distill", "device", str(file), *_next.data_words(data, data_dir)]
    if not verification.passed:
        where = _next.data_words(data, data_dir, imports)
        following = _next.quantize(against, file, where)
    if following and file.suffix == ".tflite" and not as_json:
        print_next(*following)
    if verification.passed:
        return DONE
    if verification.too_few:
        raise VerificationError(f"{file}: {verification.statement}.", record=record)
    raise VerificationError(
        f"{file} fails verification against {against}: {'; '.join(verification.failures)}.",
        record=record,
    )


def _print(record: "VerifyRecord") -> None:
    from keras_distill.records import shown_score

    verification = record.verification
    columns = ("output", "metric", "file", "reference", "lost, points", "agreement", "difference")
    rows = []
    for found in verification.outputs:
        far = "" if found.relative_difference is None else f"{found.relative_difference:.2%}"
        rows.append(
            (
                found.name,
                "" if found.drop is None else found.metric,
                shown_score(found.metric, found.judged.file),
                shown_score(found.metric, found.judged.reference),
                "" if found.drop is None else f"{found.drop:.2f}",
                "" if found.agreement is None else f"{found.agreement:.2%}",
                far,
            )
        )
    caption = "Difference: the largest, of the range of the reference's output."
    print_table(columns, rows, caption=caption)
    for text in record.warnings:
        print_line(f"Note: {text}.")
    if verification.passed:
        print_line(f"{verification.statement[0].upper()}{verification.statement[1:]}.")


main = verb_main(command, "keras-distill verify")
