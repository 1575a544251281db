"""One self-contained HTML page from the record of a run; needs no TensorFlow."""

import os
from pathlib import Path

import jinja2
import tomli_w

from keras_distill._internal import _files
from keras_distill.records._run import RunRecord
from keras_distill.report import _compression, _figures, _summary

_TEMPLATES = Path(__file__).with_name("templates")


def render(record: RunRecord) -> str:
    """The page as HTML: no script, no file or address outside itself.

    Args:
        record: What a run found.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = _summary.rows(record)
    return environment.get_template("run.html").render(
        record=record,
        cards=_cards(record, rows),
        sentences=_summary.sentences(record),
        header=_summary.HEADER,
        rows=rows,
        note=_summary.note(record),
        figures={
            "curves": _figures.curves(record),
            "intervals": _figures.intervals(record),
            "sizes": _figures.size_against_accuracy(rows),
        },
        compression={
            "header": _compression.HEADER,
            "rows": _compression.table(record),
            "note": _compression.note(record),
        },
        files=_summary.files(record),
        missing=_summary.missing(record),
        method=_summary.method(record),
        recipe=tomli_w.dumps(record.recipe.model_dump(mode="json", exclude_none=True)),
    )


def write(
    run: str | os.PathLike, output: str | os.PathLike | None = None, *, overwrite: bool = False
) -> Path:
    """Writes the page of a run.

    Args:
        run: The run's folder, or its `record.json`.
        output: The page; None: `report.html` beside the record.
        overwrite: Whether an existing page may be replaced.

    Returns:
        Where the page stands.

    Raises:
        InputError: If there is no valid record, or the page exists.
    """
    run = Path(run)
    record = run / "record.json" if run.is_dir() else run
    page = render(RunRecord.load(record))
    return _files.write_text(output or record.with_name("report.html"), page, overwrite=overwrite)


def _cards(record: RunRecord, rows: list[_summary.Row]) -> list[dict[str, str]]:
    distilled, alone = record.variant("distilled"), record.variant("alone")
    cards = [
        {"value": f"{100 * record.teacher.test_accuracy:.1f} %", "label": "teacher, test accuracy"},
        {"value": f"{100 * alone.test_accuracy.value:.1f} %", "label": alone.title},
        {"value": f"{100 * distilled.test_accuracy.value:.1f} %", "label": distilled.title},
    ]
    files = [row for row in rows if row.entry is not None and not row.is_teacher]
    if files:
        smallest = min(files, key=lambda row: row.bytes)
        teacher = rows[0]
        cards.append(
            {
                "value": f"{smallest.bytes / 1024:.1f} KiB",
                "label": f"{smallest.title}, teacher {teacher.bytes / 1024:.0f} KiB",
            }
        )
    return cards
