"""Draws Vega-Lite specifications in a child process.

The JavaScript engine reserves about 64 GiB of address space and ends its process if a limit
(`ulimit -v`) prevents this. Neither the page nor its run must be lost in this case.
"""

import base64
import contextlib
from collections.abc import Mapping
from typing import Any

from keras_distill._internal._child import Child, ChildError
from keras_distill._internal._sharing import Shared

_SERVICE = "keras_distill.report._engine:Service"
_SECONDS = 300.0  # time limit of one drawing, including the start of the engine


class DrawingError(Exception):
    """A chart could not be drawn; the message is the reason."""


class Service:
    """Draws in the child process."""

    def draw(self, spec: dict[str, Any], kind: str) -> str:
        """Returns the drawing in base64."""
        import vl_convert

        if kind == "png":
            drawn = vl_convert.vegalite_to_png(spec, scale=2)
        elif kind == "pdf":
            drawn = vl_convert.vegalite_to_pdf(spec)
        else:
            drawn = vl_convert.vegalite_to_svg(spec).encode()
        return base64.b64encode(drawn).decode()


class _Engine:
    """A child process that starts for the first drawing and does not restart after a failure."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._failure: str | None = None

    def draw(self, spec: Mapping[str, Any], kind: str) -> bytes:
        if self._failure is not None:
            raise DrawingError(self._failure)
        if self._child is None:
            self._child = Child(_SERVICE)
        try:
            drawn = self._child.ask("draw", timeout=_SECONDS, spec=dict(spec), kind=kind)
        except ChildError as error:
            if error.raised:  # the engine works but rejects this specification
                raise ValueError(error.reason) from error
            self._failure = f"the drawing engine {error.reason}"
            raise DrawingError(self._failure) from error
        return base64.b64decode(drawn)

    def close(self) -> None:
        if self._child is not None:
            self._child.close()


_shared = Shared("engine", _Engine)


def one_engine() -> contextlib.AbstractContextManager[None]:
    """Lets all drawings in the `with` block share one process."""
    return _shared.block()


def draw(spec: Mapping[str, Any], kind: str) -> bytes:
    """Draws a Vega-Lite specification.

    Args:
        spec: JSON values.
        kind: "svg", "png" (twice as many pixels as the specification says), or "pdf".

    Raises:
        DrawingError: If the engine crashed or exceeded the time limit.
        ValueError: If the engine rejects the specification.
    """
    with one_engine():
        engine = _shared.current()
        assert engine is not None  # set by `one_engine`
        return engine.draw(spec, kind)
