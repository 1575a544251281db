"""Runs recipes: from data to verified `.tflite` files and a report."""

import importlib
from typing import TYPE_CHECKING, Any

from keras_distill.runs._init import init
from keras_distill.runs._load_recipe import (
    DEFAULT_RECIPE,
    builtin_recipes,
    load_recipe,
    recipe_from_options,
)

if TYPE_CHECKING:
    from keras_distill.runs._compare import compare
    from keras_distill.runs._plan import plan
    from keras_distill.runs._run import run
    from keras_distill.runs._sweep import sweep

__all__ = [
    "DEFAULT_RECIPE",
    "builtin_recipes",
    "compare",
    "init",
    "load_recipe",
    "plan",
    "recipe_from_options",
    "run",
    "sweep",
]

# These modules import TensorFlow or SciPy, which listing recipes does not need.
_HEAVY = {
    "compare": "keras_distill.runs._compare",
    "plan": "keras_distill.runs._plan",
    "run": "keras_distill.runs._run",
    "sweep": "keras_distill.runs._sweep",
}


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HEAVY[name]), name)
