"""Writes a recipe for the user's data and models, with all keys and their descriptions."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

from keras_distill._internal import _files
from keras_distill.records import Key, Recipe, recipe_keys
from keras_distill.runs._load_recipe import recipe_from_options

_WIDTH = 96
# The comment in tables that also accept the keys of [training].
_SAME = "# Keys of [training] may be here too, such as epochs; without them, those there apply."


def init(
    path: str | Path, given: dict[str, Any], *, about: tuple[str, ...] = (), overwrite: bool = False
) -> Recipe:
    """Writes a recipe as TOML. Every key that is not given is written as a comment.

    Args:
        path: The `.toml` file to write.
        given: Values by dotted key; at least `data.source`, `teacher.model`, and `student.model`
            are required.
        about: Sentences for the top of the file.
        overwrite: Whether to replace an existing file.

    Returns:
        The recipe in the file.

    Raises:
        InputError: If a value is not valid, or the file exists.

    Example:
        >>> import tempfile
        >>> file = tempfile.mkdtemp() + "/recipe.toml"
        >>> models = {"teacher.model": "mlp:64", "student.model": "mlp:8"}
        >>> init(file, {"data.source": "digits", **models}).name
        'digits-mlp-8'
        >>> Recipe.load(file).student.model
        'mlp:8'
    """
    recipe = recipe_from_options(given)
    values = {**given, "name": recipe.name}
    head = (*about, "Lines that begin with `# key = ` are settings at their default, or examples.")
    _files.check_output(path, overwrite=overwrite, folder=False)
    text = "\n".join([*_comment(" ".join(head)), "", *_lines(values)]) + "\n"
    _files.write_text(path, text, overwrite=overwrite)
    return recipe


def _lines(values: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of a recipe. Keys outside tables come first, as TOML requires."""
    keys = list(recipe_keys())
    for key in keys:
        if "." not in key.name and not key.table:
            yield from _setting(key, values)
    for table in keys:
        if not table.table:
            continue
        inner = [key for key in keys if key.name.rpartition(".")[0] == table.name]
        used = any(name.startswith(f"{table.name}.") for name in values)
        yield ""
        yield from _comment(table.meaning)
        yield table.table if used else f"# {table.table}"
        if any(key.of_training for key in inner):
            yield _SAME
        for key in inner:
            if not key.table and (not key.of_training or key.name in values):
                yield from _setting(key, values)


def _setting(key: Key, values: dict[str, Any]) -> Iterator[str]:
    name = key.name.rpartition(".")[2]
    yield ""
    yield from _comment(key.meaning)
    if key.name in values:
        yield tomli_w.dumps({name: values[key.name]}).strip()
    else:
        yield f"# {name} = {key.example}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")
