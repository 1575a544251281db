"""Progress of long work, told on stderr so that stdout stays for results."""

from collections.abc import Callable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Reporter:
    """Told what is being done; says nothing by itself."""

    def stage(self, name: str, detail: str = "") -> None:
        """A stage begins."""

    def track(self, name: str, total: int) -> Callable[[int], None]:
        """A piece of work of `total` parts begins; call the result with the parts done so far."""
        del name, total
        return lambda done: None


class TerminalReporter(Reporter):
    """A line for each stage and a bar for each training, on stderr.

    Use it as a context manager, so that the bars leave the terminal in order.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> "TerminalReporter":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def stage(self, name: str, detail: str = "") -> None:
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._console.print(f"[bold]{name:<10}[/bold] {detail}", highlight=False)

    def track(self, name: str, total: int) -> Callable[[int], None]:
        task = self._progress.add_task(name, total=total)
        return lambda done: self._progress.update(task, completed=done)
