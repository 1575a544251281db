"""Shows the progress of long operations on stderr, because stdout is for results."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from typing_extensions import Self

from keras_distill._internal import _verbosity
from keras_distill._internal._verbosity import Verbosity

Report = Callable[[int, int | None], None]
"""Receives the parts done of a piece of work, and their total (None: not known)."""


class Task(Protocol):
    """A `Report` for a single operation. The total is optional, and a note may be added."""

    def __call__(self, done: int, total: int | None = None, /, note: str = "") -> None: ...


def silent(done: int, total: int | None = None, /, note: str = "") -> None:
    """Shows nothing; a `Task` for operations without progress."""


class Reporter:
    """The base class of all reporters, which receives progress and shows nothing."""

    def stage(self, name: str, detail: str = "") -> None:
        """Starts a stage. The operations of earlier stages are over."""

    def track(self, name: str, total: int | None = None) -> Task:
        """Starts an operation of `total` parts, and returns the function that reports them."""
        del name, total
        return silent


class TerminalReporter(Reporter):
    """Shows a line for each stage and a progress bar for each operation, on stderr.

    Use it as a context manager, so that the bars are removed at the end.

    Args:
        shown: Whether to show bars. If None, bars are shown if stderr is a terminal. With `-q`,
            neither bars nor stages are shown.
    """

    def __init__(self, shown: bool | None = None) -> None:
        from rich import progress
        from rich.console import Console

        self._console = Console(stderr=True, quiet=_verbosity.current() is Verbosity.QUIET)
        self._progress = progress.Progress(
            progress.TextColumn("  {task.description}"),
            progress.BarColumn(bar_width=10),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[note]}"),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=self._console,
            transient=True,
            disable=not (self._console.is_terminal if shown is None else shown),
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def stage(self, name: str, detail: str = "") -> None:
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._console.print(f"[bold]{name:<10}[/bold] {detail}", highlight=False)

    def track(self, name: str, total: int | None = None) -> Task:
        task = self._progress.add_task(name, total=total, note="")
        known, begun = total, False

        def report(done: int, total: int | None = None, /, note: str = "") -> None:
            nonlocal begun
            if task not in self._progress.task_ids:  # a later stage has removed its bar
                return
            # The parts that an earlier session has done do not count for the remaining time.
            update = self._progress.update if begun else self._progress.reset
            update(task, completed=done, total=known if total is None else total, note=note)
            begun = True

        return report


@contextlib.contextmanager
def reporting(name: str, progress: bool | Report | None) -> Iterator[Report]:
    """Yields a function that receives the progress of one operation.

    Args:
        name: The name of the operation.
        progress: Whether to show a bar. If None, a bar is shown if stderr is a terminal. A function
            is yielded unchanged.
    """
    if callable(progress):
        yield progress
    else:
        with TerminalReporter(progress) as reporter:
            yield reporter.track(name)
