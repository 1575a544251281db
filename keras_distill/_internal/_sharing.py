"""Shares an object, such as a child process, with all code that runs in a `with` block."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """An object that can be shared."""

    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Shared(Generic[T]):
    """Creates an object at the start of a `with` block, and closes it at the end.

    Args:
        name: The name of the object, for debugging.
        make: A function that creates the object.
    """

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        self._make = make
        self._current: ContextVar[T | None] = ContextVar(name, default=None)

    def current(self) -> T | None:
        """Returns the object of the current block, or None outside of a block.

        Other threads do not see the object.
        """
        return self._current.get()

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """Shares an object in the block. A nested block shares the object of the outer block."""
        if self._current.get() is not None:
            yield
            return
        made = self._make()
        token = self._current.set(made)
        try:
            yield
        finally:
            self._current.reset(token)
            made.close()
