"""How far a build is, with an estimate of the time left."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Report = Callable[[int, int | None], None]


@contextlib.contextmanager
def reporting(progress: bool | Report | None) -> Iterator[Report]:
    """Yields a function to call with the examples done and their total (None: not known).

    Args:
        progress: None: a bar on stderr where that is a terminal; True or False: a bar, or none; a
            function `(done, total)` is called instead.
    """
    if callable(progress):
        yield progress
        return
    console = Console(stderr=True)
    shown = console.is_terminal if progress is None else progress
    with Progress(
        TextColumn("soft targets"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not shown,
    ) as bar:
        task = bar.add_task("soft targets", total=None)
        begun = False

        def report(done: int, total: int | None) -> None:
            nonlocal begun
            if begun:
                bar.update(task, completed=done, total=total)
            else:
                # What a resumed build finds done says nothing about its speed.
                bar.reset(task, completed=done, total=total)
            begun = True

        yield report
