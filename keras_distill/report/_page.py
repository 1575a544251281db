"""The HTML page of a run, created from its record. Does not need TensorFlow."""

import tomli_w

from keras_distill.records import ExploreRecord, RunRecord, SchedulePart
from keras_distill.report import (
    _compression,
    _devices,
    _figures,
    _run_tables,
    _search,
    _shrink,
    _summary,
    _verdict,
)
from keras_distill.report._card import card
from keras_distill.report._exploration import exploration
from keras_distill.report._hero import hero
from keras_distill.report._template import render_template


def render(record: RunRecord, explored: ExploreRecord | None = None) -> str:
    """Renders the page of a run as HTML, without references to other files.

    Args:
        record: The record of the run.
        explored: The outputs of its models on the test split. If None, the page does not show them.
    """
    lines, entries = _summary.rows(record), record.benchmark.entries
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
        student=_summary.student_of(record),
        search=_search.section(record),
        shrink=_shrink.section(record),
        explored=None if explored is None else exploration(explored, temperature),
        compression=_compression.table(record),
        compression_note=_compression.note(record),
        verification=_run_tables.verification(record),
        precisions=_run_tables.precisions(record),
        precisions_note=_run_tables.precisions_note(record),
        operators=_run_tables.operators(record),
        devices=_devices.devices(entries),
        device_notes=_devices.notes(entries, "up to 200 test examples"),
        code=_code(record),
        card=card(record, explored),
        method=_summary.method(record),
        recipe=tomli_w.dumps(record.recipe.model_dump(mode="json", exclude_none=True)),
        raw=record.model_dump_json(indent=1),
    )


def _code(record: RunRecord) -> dict[str, str]:
    """Returns code that loads the file of the page, by language; empty without a file."""
    from keras_distill.device import snippets  # the page of another record needs no LiteRT

    export = dict(_summary.files(record)).get(_verdict.headline_file(record) or "")
    if export is None:
        return {}
    return snippets(export.file, export.inputs, export.outputs, record.data.class_names)


def _first(setting: float | SchedulePart) -> float:
    return setting.start if isinstance(setting, SchedulePart) else setting
