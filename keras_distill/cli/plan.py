"""`keras-distill plan [RECIPE]`: what a run will do, before hours are spent on it."""

from typing import TYPE_CHECKING, Annotated

import typer

from keras_distill.cli import _options
from keras_distill.cli._console import print_json, print_line, print_next, print_table
from keras_distill.cli._verb import uses_tensorflow, verb_main

if TYPE_CHECKING:
    from keras_distill.records import PlanRecord


@uses_tensorflow
def command(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="Built-in recipe (see `keras-distill recipes`) or .toml file.",
            show_default="digits",
        ),
    ] = None,
    *,
    data_dir: _options.DataDir = None,
    settings: _options.Settings,
    scale: _options.Scale = "full",
    imports: _options.Imports,
    as_json: _options.Json = False,
) -> None:
    """Show what a run will do, with an estimate of its time, memory, and disk.

    The recipe is checked as at the start of a run, and a few steps of each training are timed.

    \b
    Example:
      keras-distill plan mine.toml
    """
    from keras_distill import runs
    from keras_distill._internal._progress import TerminalReporter
    from keras_distill.records import parse_setting

    overrides = {} if data_dir is None else {"data.data_dir": str(data_dir)}
    overrides |= dict(map(parse_setting, settings))
    chosen = runs.load_recipe(recipe or runs.DEFAULT_RECIPE, overrides)
    with TerminalReporter() as reporter:
        found = runs.plan(chosen, scale=scale, imports=tuple(imports), reporter=reporter)
    if as_json:
        print_json(found)
        return
    _print_plan(found)
    print_next("keras-distill", "run", *([recipe] if recipe else []))


def _print_plan(found: "PlanRecord") -> None:
    from keras_distill.report import size_in_words

    rows = [
        (
            stage.name,
            stage.what,
            f"{stage.steps:,}" if stage.steps else "",
            "" if stage.seconds is None else _duration(stage.seconds),
            "" if not stage.bytes else size_in_words(stage.bytes),
        )
        for stage in found.stages
    ]
    columns = ("stage", "what", "steps", "time", "disk")
    print_table(columns, rows, title=found.recipe.name, text_columns=columns[:2])
    for note in found.notes:
        print_line(note)
    memory = (
        "unknown" if found.peak_memory_bytes is None else size_in_words(found.peak_memory_bytes)
    )
    print_line(
        f"In all about {_duration(found.seconds)} on {found.machine}, disk while it runs:"
        f" {size_in_words(found.bytes)}, memory: {memory}."
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


main = verb_main(command, "keras-distill plan")
