"""Loads text templates, for HTML pages and for device code."""

from pathlib import Path
from typing import Any

import jinja2


class Templates(jinja2.Environment):
    """The templates in a folder.

    If `x` is a dict with the key "get", `{{ x.get }}` is the value of the key and not the method. A
    template that prints an undefined name or a function raises an error.

    Args:
        folder: The folder of the templates.
        html: Whether to escape values as HTML.
        **options: Further options of `jinja2.Environment`.
    """

    def __init__(self, folder: Path, *, html: bool, **options: Any) -> None:
        super().__init__(
            loader=jinja2.FileSystemLoader(folder),
            autoescape=html,
            undefined=jinja2.StrictUndefined,
            finalize=_printable,
            trim_blocks=True,
            lstrip_blocks=True,
            **options,
        )

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Returns the item of a dict with this key if there is one, otherwise the attribute."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def _printable(value: Any) -> Any:
    if callable(value) and not isinstance(value, jinja2.Undefined):
        raise TypeError(f"A template prints a function: {value!r}.")
    return value
