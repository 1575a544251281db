"""What the code of a `with` block shares without passing it on, such as a child process."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """What can be shared."""

    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Shared(Generic[T]):
    """A thing that is made at the beginning of a `with` block, and closed at its end.

    Args:
        name: What it is, for debugging.
        make: Makes it.
    """

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        self._make = make
        self._current: ContextVar[T | None] = ContextVar(name, default=None)

    def current(self) -> T | None:
        """Returns that of the block of this thread; None outside of a block."""
        return self._current.get()

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """Shares one in the block; a block inside of another shares that of the outer one."""
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
