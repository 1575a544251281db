"""Loads built-in recipes and recipe files, and applies changes from command-line options."""

from pathlib import Path
from typing import Any

from keras_distill._internal import InputError, did_you_mean
from keras_distill.records import Recipe, changed, read_toml

_FOLDER = Path(__file__).with_name("recipes")

DEFAULT_RECIPE = "digits"
_SMOKE_BUDGET = "0.5s"


def builtin_recipes() -> dict[str, Path]:
    """Returns the names and files of the recipes that come with the package.

    Example:
        >>> "digits" in builtin_recipes()
        True
    """
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}


def load_recipe(name: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """Loads a built-in recipe or a file, and changes some keys.

    Args:
        name: The name of a built-in recipe, or the path of a `.toml` file.
        overrides: New values by dotted key, such as `"training.epochs"`.

    Raises:
        InputError: If there is no such recipe, or it is not valid.

    Example:
        >>> load_recipe("digits", {"training.epochs": 2}).training.epochs
        2
    """
    known = builtin_recipes()
    source = name
    if name in known:
        path, source = known[name], f"recipe {name}"
    elif name.endswith(".toml"):
        path = Path(name)
    else:
        raise InputError(
            f"Unknown recipe {name!r}. Built in: {', '.join(known)}; or give a .toml file."
            f"{did_you_mean(name, known)}"
        )
    return _parse(read_toml(path), overrides or {}, source=source)


def recipe_from_options(overrides: dict[str, Any]) -> Recipe:
    """Makes a recipe from defaults and `overrides`, named after its data set and student.

    Raises:
        InputError: If the data, teacher, or student is missing, or the recipe is not valid.
    """
    missing = [
        option
        for option, key in [
            ("--data", "data.source"),
            ("--teacher", "teacher.model"),  # or --targets
            ("--student (or --max-bytes)", "student.model"),
        ]
        if key not in overrides
    ]
    if missing:
        raise InputError(f"Without a recipe, {', '.join(missing)} must be given too.")
    parts = (str(overrides["data.source"]), str(overrides["student.model"]))
    name = "-".join(_slug(part) for part in parts)[:100]
    return _parse({"name": name}, overrides, source="the options")


def _slug(text: str) -> str:
    """Converts a spec to a part of a file name: `idx:/data/mnist/` becomes `mnist`."""
    kind, _, argument = text.partition(":")
    if kind in ("tfds", "idx", "npz", "images", "py"):
        text = Path(argument).stem
    kept = [c if c.isalnum() else "-" for c in text]
    return "-".join(filter(None, "".join(kept).split("-"))).lower()


def _parse(values: dict[str, Any], overrides: dict[str, Any], *, source: str) -> Recipe:
    return Recipe.parse(changed(values, overrides, source=source), source=source)


def smoke_recipe(recipe: Recipe) -> Recipe:
    """Returns the recipe with one epoch for teacher, assistants, student, and compression steps.

    It has at most two seeds, two benchmark calls, and no limit on the drop. `load_data` limits the
    data to two batches.
    """
    short: dict[str, Any] = {"epochs": 1}
    compress = recipe.compress
    if compress is not None:
        changes = {**short, "batch_size": None, "max_drop": None, "recover": False}
        compress = compress.model_copy(update=changes)
    return recipe.model_copy(
        update={
            "training": _short(recipe.training, short),
            "teacher": _short(recipe.teacher, short),
            "assistant": tuple(_short(part, short) for part in recipe.assistant),
            "seeds": recipe.seeds[:2],
            "export": recipe.export.model_copy(update={"max_drop": 100.0}),
            "compress": compress,
            "benchmark": recipe.benchmark.model_copy(update={"runs": 2}),
        }
    )


def _short(part: Any, short: dict[str, Any]) -> Any:
    """Returns training settings changed by `short`; a time budget becomes `_SMOKE_BUDGET`."""
    budget = {} if part.budget is None else {"budget": _SMOKE_BUDGET}
    return part.model_copy(update={**short, **budget})
