"""The HTML page of a run, made from its record. Needs no TensorFlow."""

from pathlib import Path

import tomli_w

from keras_distill._internal import InputError, _files
from keras_distill._internal._types import PathLike
from keras_distill.records import ExploreRecord, RunRecord, SchedulePart
from keras_distill.report import _compression, _figures, _run_tables, _shrink, _summary, _verdict
from keras_distill.report._exploration import exploration
from keras_distill.report._hero import hero
from keras_distill.report._template import render_template

# What drawing raises on values that each fit, and do not fit together.
_CONTRADICTIONS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    StopIteration,
    TypeError,
    ValueError,
)


def render(record: RunRecord, explored: ExploreRecord | None = None) -> str:
    """Renders the page of a run as HTML, without references to other files.

    Args:
        record: The record of the run.
        explored: What its models say about the test split; None: the page does not show it.
    """
    lines = _summary.rows(record)
    temperature = _first(record.recipe.distillation.temperature)
    return render_template(
        "run.html",
        record=record,
        banner_list=_verdict.banners(record),
        hero=hero(record),
        verdict=_verdict.verdict(record),
        sentences=_verdict.details(record),
        models=_run_tables.models(record),
        note=_summary.note(record),
        figures={
            "training": _figures.training(record),
            "variants": _figures.variants(record),
            "trade_offs": _figures.trade_offs(record, lines),
        },
        shrink=_shrink.section(record),
        explored=None if explored is None else exploration(explored, temperature),
        compression=_compression.table(record),
        compression_note=_compression.note(record),
        verification=_run_tables.verification(record),
        operators=_run_tables.operators(record),
        method=_summary.method(record),
        recipe=tomli_w.dumps(record.recipe.model_dump(mode="json", exclude_none=True)),
        raw=record.model_dump_json(indent=1),
    )


def _first(setting: float | SchedulePart) -> float:
    return setting.start if isinstance(setting, SchedulePart) else setting


def write(run: PathLike, output: PathLike | None = None, *, overwrite: bool = False) -> Path:
    """Writes the page of a run from its record and, if there is one, `explore.json`.

    Args:
        run: The run's folder, or its `record.json`.
        output: The HTML file; None: `report.html` in the folder of the record, which is replaced.
        overwrite: Whether to replace an existing `output`.

    Returns:
        The path of the page.

    Raises:
        InputError: If there is no valid record, or `output` exists and may not be replaced.
    """
    run = Path(run)
    path = run / "record.json" if run.is_dir() else run
    # A page is made from its record, so that making it again loses nothing.
    overwrite = overwrite or output is None
    output = Path(output or path.with_name("report.html"))
    _files.check_output(output, overwrite=overwrite, folder=False)
    record, explored = RunRecord.load(path), None
    if path.with_name("explore.json").exists():
        explored = ExploreRecord.load(path.with_name("explore.json"))
    try:
        page = render(record, explored)
    except _CONTRADICTIONS as error:
        raise InputError(
            f"{path}: the values contradict each other: {type(error).__name__}: {error!s:.200}"
        ) from error
    return _files.write_text(output, page, overwrite=overwrite)
