"""Progress of long work, shown on stderr: stdout is for results."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from typing_extensions import Self

from keras_distill._internal import _verbosity
from keras_distill._internal._verbosity import Verbosity

Report = Callable[[int, int | None], None]
"""Receives the parts done of a piece of work, and their total (None: not known)."""


class Task(Protocol):
    """A `Report` of a piece of work whose total need not be given again."""

    def __call__(self, done: int, total: int | None = None, /, note: str = "") -> None: ...


def silent(done: int, total: int | None = None, /, note: str = "") -> None:
    """A `Task` that shows nothing."""


class Reporter:
    """Receives progress and shows nothing; the base of all reporters."""

    def stage(self, name: str, detail: str = "") -> None:
        """Starts a stage: the pieces of work before it are over."""

    def track(self, name: str, total: int | None = None) -> Task:
        """Starts a piece of work of `total` parts; call the result with the parts done so far."""
        del name, total
        return silent


class TerminalReporter(Reporter):
    """Shows a line for each stage and a bar for each piece of work, on stderr.

    Use it as a context manager, so that it removes its bars.

    Args:
        shown: Whether to show bars; None: if stderr is a terminal. With `-q`, neither bars nor
            stages are shown.
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
            # What a resumed session finds done does not count for the time left.
            update = self._progress.update if begun else self._progress.reset
            update(task, completed=done, total=known if total is None else total, note=note)
            begun = True

        return report


@contextlib.contextmanager
def reporting(name: str, progress: bool | Report | None) -> Iterator[Report]:
    """Yields the function that receives the progress of one piece of work.

    Args:
        name: Name of the work.
        progress: True or False: show a bar, or do not; None: show one if stderr is a terminal; a
            function is used itself.
    """
    if callable(progress):
        yield progress
    else:
        with TerminalReporter(progress) as reporter:
            yield reporter.track(name)
