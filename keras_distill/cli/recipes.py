"""`keras-distill recipes`: lists the built-in recipes."""

from keras_distill.cli._console import print_json, print_table
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
    columns = ("recipe", "data", "teacher", "student", "what it shows")
    rows = [
        (name, recipe.data.source, str(recipe.teacher), recipe.student.model, recipe.summary)
        for name, recipe in found.items()
    ]
    print_table(columns, rows, text_columns=columns)


main = verb_main(command, "keras-distill recipes")
