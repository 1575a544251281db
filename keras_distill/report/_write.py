"""Writes the page of any kind of record that has a page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from keras_distill._internal import InputError, _files
from keras_distill._internal._types import PathLike
from keras_distill.records import (
    BenchmarkRecord,
    ExplainRecord,
    ExploreRecord,
    Record,
    RunRecord,
    SpecialistsReport,
    SweepRecord,
)
from keras_distill.report._benchmark import render_benchmark
from keras_distill.report._card import card
from keras_distill.report._page import render
from keras_distill.report._precision import render_explain
from keras_distill.report._specialists import render_specialists
from keras_distill.report._sweep import render_sweep

# Errors of drawing if values are valid individually but inconsistent with each other.
_CONTRADICTIONS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    StopIteration,
    TypeError,
    ValueError,
)


CARD = "card.md"


class _Kind(NamedTuple):
    """A kind of record.

    Attributes:
        record: Its class.
        file: The name of its file in a folder.
        page: The name of the page next to the file.
        render: Creates the page of a record in a folder.
    """

    record: type[Record]
    file: str
    page: str
    render: Callable[[Any, Path], str]


def _run(record: RunRecord, folder: Path) -> str:
    return render(record, _explored(folder))


def _explored(folder: Path) -> ExploreRecord | None:
    path = folder / "explore.json"
    return ExploreRecord.load(path) if path.exists() else None


_KINDS = (
    _Kind(RunRecord, "record.json", "report.html", _run),
    _Kind(
        SpecialistsReport,
        "evaluation.json",
        "evaluation.html",
        lambda record, _: render_specialists(record),
    ),
    _Kind(
        BenchmarkRecord,
        "benchmark.json",
        "benchmark.html",
        lambda record, _: render_benchmark(record),
    ),
    _Kind(SweepRecord, "sweep.json", "report.html", lambda record, _: render_sweep(record)),
    _Kind(ExplainRecord, "explain.json", "explain.html", lambda record, _: render_explain(record)),
)


def write(path: PathLike, output: PathLike | None = None, *, overwrite: bool = False) -> Path:
    """Writes the page of a record: of a run, a sweep, specialists, or a benchmark.

    Args:
        path: The file of the record, or the folder that contains it.
        output: The HTML file. If None, the page next to the record, which is replaced if it exists,
            because it can always be created again from the record.
        overwrite: Whether to replace an existing `output`.

    Returns:
        The path of the page.

    Raises:
        InputError: If there is no valid record, or `output` exists and may not be replaced.
    """
    file = _record_in(Path(path))
    values = _read(file)
    kind = _kind_of(values)
    name = kind.page if file.name == kind.file else f"{file.stem}.html"
    output, overwrite = _place(file, name, output, overwrite)
    return _made(file, values, kind, kind.render, output, overwrite)


def write_card(path: PathLike, output: PathLike | None = None, *, overwrite: bool = False) -> Path:
    """Writes the model card of a run, as Markdown.

    Args:
        path: The file of the record, or the folder that contains it.
        output: The file. If None, card.md next to the record, which is replaced as in `write`.
        overwrite: Whether to replace an existing `output`.

    Returns:
        The path of the card.

    Raises:
        InputError: If there is no valid record of a run, or `output` exists and may not be
            replaced.
    """
    file = _record_in(Path(path))
    values = _read(file)
    kind = _kind_of(values)
    if kind.record is not RunRecord:
        raise InputError(f"{file}: only a run has a model card. Give its folder or record.json.")

    def made(record: RunRecord, folder: Path) -> str:
        return card(record, _explored(folder))

    output, overwrite = _place(file, CARD, output, overwrite)
    return _made(file, values, kind, made, output, overwrite)


def _place(file: Path, name: str, output: PathLike | None, overwrite: bool) -> tuple[Path, bool]:
    """Returns where to write, and whether to replace the file (always, next to the record)."""
    if output is None:
        return file.with_name(name), True
    return Path(output), overwrite


def _made(
    file: Path,
    values: dict[str, Any],
    kind: _Kind,
    render: Callable[[Any, Path], str],
    output: Path,
    overwrite: bool,
) -> Path:
    """Renders the values of a record and writes the result."""
    _files.check_output(output, overwrite=overwrite, folder=False)
    record = kind.record.parse(values, source=str(file))
    try:
        page = render(record, file.parent)
    except _CONTRADICTIONS as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{file}: the values contradict each other: {type(error).__name__}: {error!s:.200}"
        ) from error
    return _files.write_text(output, page, overwrite=overwrite)


def _record_in(path: Path) -> Path:
    if not path.is_dir():
        return path
    names = [kind.file for kind in _KINDS]
    for name in names:
        if (path / name).exists():
            return path / name
    raise InputError(f"{path} has none of the records that have a page: {', '.join(names)}.")


def _read(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(_files.read_text(file))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: not a record in JSON ({error!s:.200}).") from error
    if not isinstance(values, dict):
        raise InputError(f"{file}: not a record: a JSON object is needed.")
    return values


def _kind_of(values: dict[str, Any]) -> _Kind:
    """Returns the kind that shares most of its keys with the values."""

    def likeness(kind: _Kind) -> float:
        keys = set(kind.record.model_fields)
        return len(keys & set(values)) / len(keys | set(values))

    return max(_KINDS, key=likeness)
