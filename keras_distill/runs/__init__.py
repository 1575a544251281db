"""Recipes, and runs of them: from data to verified `.tflite` files and a report."""

import importlib
from typing import TYPE_CHECKING, Any

from keras_distill.runs._load_recipe import (
    DEFAULT_RECIPE,
    builtin_recipes,
    load_recipe,
    recipe_from_options,
)

if TYPE_CHECKING:
    from keras_distill.runs._run import run

__all__ = ["DEFAULT_RECIPE", "builtin_recipes", "load_recipe", "recipe_from_options", "run"]


def __getattr__(name: str) -> Any:
    if name != "run":  # imports TensorFlow, which a list of recipes does not need
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("keras_distill.runs._run").run
