"""Fills the templates of pages. A page is one file: styles, scripts, and charts are inside."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from keras_distill._internal._templates import Templates
from keras_distill.report._charts import to_html
from keras_distill.report._colors import DARK, LIGHT
from keras_distill.report._engine import one_engine

_FOLDER = Path(__file__).with_name("templates")


@functools.cache
def _environment() -> Templates:
    environment = Templates(_FOLDER, html=True)
    found: dict[str, Any] = environment.globals
    found |= {"asset": _asset, "css_variables": _css_variables, "draw": to_html}
    found |= {"light": LIGHT, "dark": DARK}
    return environment


def _asset(name: str) -> Markup:
    """Returns a style sheet or a script of the package, unchanged."""
    return Markup((_FOLDER / name).read_text(encoding="utf-8"))


def _css_variables(colors: Mapping[str, str]) -> Markup:
    return Markup(" ".join(f"{name}: {color};" for name, color in colors.items()))


def render_template(name: str, **values: Any) -> str:
    """Fills the template with this name.

    Macros in the template draw charts: pass a `Chart` as a value and write
    `{{ figure(chart, "caption") }}`.
    """
    with one_engine():
        return _environment().get_template(name).render(**values)
