"""Defines how much output the program prints. The command line sets it for one command."""

import contextlib
import enum
import os
from collections.abc import Iterator
from contextvars import ContextVar


class Verbosity(enum.Enum):
    """How much output is printed."""

    QUIET = "quiet"  # results, warnings, and errors
    NORMAL = "normal"
    VERBOSE = "verbose"  # also the logs of TensorFlow and LiteRT, and tracebacks


_current: ContextVar[Verbosity] = ContextVar("verbosity", default=Verbosity.NORMAL)
_LOG = "TF_CPP_MIN_LOG_LEVEL"  # read by TensorFlow at import


def current() -> Verbosity:
    """Returns the current verbosity.

    Example:
        >>> current().value
        'normal'
    """
    return _current.get()


def choose(value: Verbosity) -> None:
    """Sets the verbosity until the end of the innermost `one_command`."""
    _current.set(value)
    if value is Verbosity.VERBOSE:
        os.environ[_LOG] = "0"


@contextlib.contextmanager
def one_command() -> Iterator[None]:
    """Restores the verbosity at the end of the block. By default, TensorFlow logs nothing in it.

    The environment variable of TensorFlow's log level is restored only if it was set before.
    """
    token, log = _current.set(Verbosity.NORMAL), os.environ.get(_LOG)
    os.environ.setdefault(_LOG, "3")
    try:
        yield
    finally:
        _current.reset(token)
        if log is not None:
            os.environ[_LOG] = log
