"""`keras-distill sweep RECIPE --grid KEY=a,b,c`: many students that share one teacher."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_distill._internal import bad
from keras_distill.cli import _options
from keras_distill.cli._console import print_json, print_line, print_next, print_table
from keras_distill.cli._verb import DONE, VERIFICATION_FAILED, import_tensorflow, verb_main

if TYPE_CHECKING:
    from keras_distill.records import SweepRecord

_OPENING, _CLOSING = "[{(", "]})"


def command(
    recipe: Annotated[
        str, typer.Argument(help="Built-in recipe (see `keras-distill recipes`) or .toml file.")
    ] = "digits",
    *,
    grid: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUE,VALUE",
            default_factory=list,
            show_default=False,
            help="Values of a setting, such as distillation.temperature=1,2,4; may be repeated:"
            " every combination is a point. Replaces the points of the recipe's [sweep].",
        ),
    ],
    seeds: Annotated[int | None, typer.Option(help="Number of seeds per point: 0, 1, …")] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="What every point is compared with: alone (the student without a teacher), none,"
            " or KEY=VALUE,KEY=VALUE, a point.",
            show_default="alone",
        ),
    ] = None,
    backend: _options.Backend = "in-turn",
    workers: Annotated[int, typer.Option(help="Number of jobs at a time.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of each process.", show_default="cores divided by workers"),
    ] = None,
    stacked: Annotated[
        bool,
        typer.Option(
            help="Whether to train small students of one seed that differ only in alpha and"
            " temperature together in one graph, which is faster and rounds differently.",
        ),
    ] = True,
    data_dir: _options.DataDir = None,
    out: Annotated[
        Path | None, _options.output("Folder of the sweep.", show_default="saved_models/NAME-sweep")
    ] = None,
    scale: _options.Scale = "full",
    tensorboard: _options.TensorBoard = None,
    mlflow: _options.MLflow = None,
    settings: _options.Settings,
    imports: _options.Imports,
    overwrite: _options.Overwrite = False,
    as_json: _options.Json = False,
) -> int:
    """Train a student for every point of a grid; all points share teachers and stored targets.

    You can interrupt a sweep at any time: run the same command again to resume. Run it with other
    points or more seeds to add them to a finished sweep.

    \b
    Example:
      keras-distill sweep digits --grid distillation.temperature=1,2,4,8 --seeds 3
    """
    from keras_distill import runs
    from keras_distill._internal._progress import TerminalReporter
    from keras_distill.records import parse_setting

    overrides: dict[str, Any] = {"data.data_dir": str(data_dir)} if data_dir is not None else {}
    overrides |= dict(map(parse_setting, settings))
    if seeds is not None:
        overrides["seeds"] = seeds
    if grid:
        overrides |= {"sweep.points": None, "sweep.random": None}
        overrides["sweep.grid"] = _grid(grid)
    if reference is not None:
        overrides["sweep.reference"] = _reference(reference)
    chosen = runs.load_recipe(recipe, overrides)
    out = out or Path("saved_models") / f"{chosen.name}-sweep"
    if backend == "in-turn":
        import_tensorflow()
    with TerminalReporter() as reporter:
        record = runs.sweep(
            chosen,
            out,
            backend=backend,
            workers=workers,
            threads=threads,
            scale=scale,
            stacked=stacked,
            overwrite=overwrite,
            imports=tuple(imports),
            reporter=reporter,
            tensorboard=tensorboard,
            mlflow=mlflow,
        )
    if as_json:
        print_json(record)
    else:
        _print_sweep(record, out)
    return VERIFICATION_FAILED if any(point.failures for point in record.points) else DONE


def _grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Reads `KEY=VALUE,VALUE` texts; each key may be named once."""
    grid: dict[str, list[Any]] = {}
    for key, values in map(_values, texts):
        if key in grid:
            raise bad("grid", "name each key once, with all of its values", f"{key} again")
        grid[key] = values
    return grid


def _values(text: str) -> tuple[str, list[Any]]:
    """Reads `KEY=VALUE,VALUE`; commas inside brackets and quotes belong to a value.

    Example:
        >>> _values("distillation.temperature=1,2.5"), _values("student.model=mlp:16,mlp:32")
        (('distillation.temperature', [1, 2.5]), ('student.model', ['mlp:16', 'mlp:32']))
    """
    from keras_distill.records import parse_setting, parse_value

    key, _ = parse_setting(text)
    values = [part.strip() for part in _split(text.partition("=")[2])]
    if not all(values):
        raise bad("grid", "be KEY=VALUE,VALUE, such as distillation.temperature=1,2,4", text)
    return key, [parse_value(value) for value in values]


def _split(text: str) -> Iterator[str]:
    """Yields the parts between commas that are outside of brackets and quotes."""
    part, depth, quote = "", 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in _OPENING or character in _CLOSING:
            depth += 1 if character in _OPENING else -1
        elif character == "," and depth == 0:
            yield part
            part = ""
            continue
        part += character
    yield part


def _reference(text: str) -> Any:
    from keras_distill.records import parse_setting

    if "=" not in text:
        return text
    return dict(parse_setting(part.strip()) for part in _split(text))


def _print_sweep(record: "SweepRecord", out: Path) -> None:
    from keras_distill import report

    columns, rows = report.sweep_table(record)
    text = (columns[0], *(c for i, c in enumerate(columns) if _is_text(rows, i)))
    print_table(columns, rows, title=record.recipe.name, text_columns=text)
    print_line(report.sweep_note(record), style="dim")
    for line in report.sweep_sentences(record):
        print_line(line)
    print_next("keras-distill", "report", out, "--open")


def _is_text(rows: list[list[str]], column: int) -> bool:
    return any(row[column][:1].isalpha() for row in rows)


main = verb_main(command, "keras-distill sweep")
