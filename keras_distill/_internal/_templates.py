"""Templates of text: pages in HTML, and code for devices."""

from pathlib import Path
from typing import Any

import jinja2


class Templates(jinja2.Environment):
    """The templates of a folder.

    `{{ x.get }}` of a dict with such a key is the value of the key, not the method. What no
    template may print, a name that does not exist or a function, is an error.

    Args:
        folder: Where the templates are.
        html: Whether values are escaped as HTML.
        **options: Further options of the environment.
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
        """Returns an item of a dict if it has one of this name, else the attribute."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def _printable(value: Any) -> Any:
    if callable(value) and not isinstance(value, jinja2.Undefined):
        raise TypeError(f"A template prints a function: {value!r}.")
    return value
