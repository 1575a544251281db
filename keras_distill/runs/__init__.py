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
    from keras_distill.runs._sweep import sweep

__all__ = [
    "DEFAULT_RECIPE",
    "builtin_recipes",
    "load_recipe",
    "recipe_from_options",
    "run",
    "sweep",
]

# A list of recipes needs neither TensorFlow, which a run imports, nor SciPy.
_LATER = {"run": "_run", "sweep": "_sweep"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"keras_distill.runs.{_LATER[name]}"), name)
