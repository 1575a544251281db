"""`keras-distill recipes`: the built-in recipes."""

import json

import typer

from keras_distill.cli._verb import verb_main


def command(
    as_json: bool = typer.Option(False, "--json", help="Print JSON and nothing else."),
) -> None:
    """List the built-in recipes; --json prints them with every setting."""
    from keras_distill.runs import _recipes

    found = {name: _recipes.load(name) for name in _recipes.builtin()}
    if as_json:
        print(json.dumps({name: r.model_dump(mode="json") for name, r in found.items()}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("recipe", "data", "teacher", "student", "what it shows", box=None)
    for name, recipe in found.items():
        table.add_row(
            name, recipe.data.source, recipe.teacher.model, recipe.student.model, recipe.summary
        )
    Console().print(table)


main = verb_main(command, "keras-distill recipes")
