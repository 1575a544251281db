"""Recipes: the built-in ones, those in files, and what the command line changes in them."""

from pathlib import Path
from typing import Any

from keras_distill._internal import InputError
from keras_distill.records._base import read_toml
from keras_distill.records._recipe import Recipe

_FOLDER = Path(__file__).with_name("recipes")

DEFAULT = "digits"


def builtin() -> dict[str, Path]:
    """Names and files of the recipes that come with the package.

    Example:
        >>> "digits" in builtin()
        True
    """
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}


def load(name: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """The recipe of that name or file, with some keys changed.

    Args:
        name: A built-in recipe, or the path of a `.toml` file.
        overrides: Keys such as `"training.epochs"` and their values.

    Raises:
        InputError: If there is no such recipe, or it does not validate.

    Example:
        >>> load("digits", {"training.epochs": 2}).training.epochs
        2
    """
    known = builtin()
    source = name
    if name in known:
        path, source = known[name], f"recipe {name}"
    elif name.endswith(".toml"):
        path = Path(name)
    else:
        raise InputError(
            f"Unknown recipe {name!r}. Built in: {', '.join(known)}; or give a .toml file."
        )
    return _parse(read_toml(path), overrides or {}, source=source)


def from_scratch(overrides: dict[str, Any]) -> Recipe:
    """A recipe of defaults and `overrides`, named after its data set and student.

    Raises:
        InputError: If data, teacher or student is missing.
    """
    missing = [
        option
        for option, key in [
            ("--data", "data.source"),
            ("--teacher", "teacher.model"),
            ("--student", "student.model"),
        ]
        if key not in overrides
    ]
    if missing:
        raise InputError(f"Without a recipe, {', '.join(missing)} must be given too.")
    parts = (str(overrides["data.source"]), str(overrides["student.model"]))
    name = "-".join(_slug(part) for part in parts)[:100]
    return _parse({"name": name}, overrides, source="the options")


def _slug(text: str) -> str:
    """What is worth reading of a spec, as part of a file name: `idx:/data/mnist/` gives `mnist`."""
    kind, _, argument = text.partition(":")
    if kind in ("tfds", "idx", "npz", "images", "py"):
        text = Path(argument).stem
    kept = [c if c.isalnum() else "-" for c in text]
    return "-".join(filter(None, "".join(kept).split("-"))).lower()


def _parse(values: dict[str, Any], overrides: dict[str, Any], *, source: str) -> Recipe:
    for key, value in overrides.items():
        *tables, last = key.split(".")
        table = values
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise InputError(
                    f"{source}: `{name}` must be a table, [{name}]. Received: {table!r}"
                )
        table[last] = value
    return Recipe.parse(values, source=source)
