"""`keras-distill recipes`: lists the built-in recipes."""

from keras_distill.cli._console import print_json, print_line, print_next
from keras_distill.cli._options import Json
from keras_distill.cli._verb import verb_main


def command(*, as_json: Json = False) -> None:
    """List the built-in recipes; --json prints them with every setting.

    \b
    Example:
      keras-distill recipes
    """
    from keras_distill import runs

    found = {name: runs.load_recipe(name) for name in runs.builtin_recipes()}
    if as_json:
        print_json({name: recipe.model_dump(mode="json") for name, recipe in found.items()})
        return
    for name, recipe in found.items():
        print_line(name, style="bold")
        print_line(f"    {recipe.summary}")
        print_line(
            f"    {recipe.data.source}: {recipe.teacher} to {recipe.student.model}", style="dim"
        )
    print_next("keras-distill", "plan", runs.DEFAULT_RECIPE)


main = verb_main(command, "keras-distill recipes")
