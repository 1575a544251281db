"""Ends a verb on Ctrl-C, SIGTERM, and SIGHUP alike, so that its work can be resumed."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from typing_extensions import Self

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_Handler = Callable[[int, FrameType | None], Any] | int | None


class Interruption:
    """Turns the signals that end a process into `KeyboardInterrupt`, and remembers which it was.

    Code that catches every exception, such as TensorFlow where it calls Python, may turn the
    `KeyboardInterrupt` into another error: whoever handles that error asks `code` first. A signal
    that the process ignores, such as SIGHUP after `nohup`, or has a handler for, is left alone.

    Use it as a context manager, in the main thread; in another thread it does nothing.

    Example:
        >>> import os
        >>> with Interruption() as interruption:
        ...     try:
        ...         os.kill(os.getpid(), signal.SIGTERM)
        ...     except KeyboardInterrupt:
        ...         print(interruption.name, interruption.code)
        SIGTERM 143
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._before: dict[signal.Signals, _Handler] = {}

    @property
    def code(self) -> int | None:
        """The exit code for the signal received, 128 + its number; None if there was none."""
        return None if self._received is None else 128 + self._received

    @property
    def name(self) -> str | None:
        """The name of the signal received; None if there was none."""
        return None if self._received is None else self._received.name

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.Signals[name] for name in _NAMES if hasattr(signal, name)):
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """Raises `KeyboardInterrupt`: for the first signal, and for each Ctrl-C after it."""
        first = self._received is None
        if first:
            self._received = signal.Signals(number)
        if first or number == signal.SIGINT:
            raise KeyboardInterrupt
