"""The page about specialists: clusters with their pictures, Tables 3 and 4, class by class."""

import os
from pathlib import Path

import jinja2

from keras_distill._internal import _files
from keras_distill._internal._stats import mean_interval
from keras_distill.records._run import IntervalRecord
from keras_distill.records._specialists import SpecialistsReport, SystemResult
from keras_distill.records._specialists_study import StudyRecord

_TEMPLATES = Path(__file__).with_name("templates")
_CHANGES_SHOWN = 12


def render(record: SpecialistsReport | StudyRecord) -> str:
    """The page as HTML: no script, no file or address outside itself.

    Args:
        record: What an evaluation, or a whole study, found.
    """
    study = record if isinstance(record, StudyRecord) else None
    report = record.report if isinstance(record, StudyRecord) else record
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=_percent, signed=_signed)
    names = {row.class_id: row.name for row in report.classes}
    changes = sorted(report.classes, key=lambda row: row.ensemble - row.generalist)
    return environment.get_template("specialists.html").render(
        report=report,
        study=study,
        split=report.split if study is None else study.split,
        kept=[] if study is None else _kept(study),
        systems=[_row(system) for system in report.systems],
        clusters=[[(i, names.get(i, str(i))) for i in ids] for ids in report.class_sets],
        left_alone=[names.get(i, str(i)) for i in report.left_alone],
        gained=changes[::-1][:_CHANGES_SHOWN],
        lost=[row for row in changes[:_CHANGES_SHOWN] if row.ensemble < row.generalist],
    )


def write(
    record: SpecialistsReport | StudyRecord, output: str | os.PathLike, *, overwrite: bool = False
) -> Path:
    """Writes the page.

    Args:
        record: What an evaluation, or a whole study, found.
        output: The file.
        overwrite: Whether an existing page may be replaced.

    Raises:
        InputError: If the page exists and may not be replaced.
    """
    return _files.write_text(output, render(record), overwrite=overwrite)


def lines(report: SpecialistsReport) -> list[str]:
    """Table 3 for the terminal, a line per system."""
    rows = [_row(system) for system in report.systems]
    width = max(len(row["title"]) for row in rows)
    head = f"{'':{width}}  {'top-1, %':>15}  {'conditional, %':>15}  {'change, %':>18}"
    return [head] + [
        f"{row['title']:{width}}  {row['accuracy']:>15}  {row['conditional']:>15}"
        f"  {row['relative']:>18}"
        for row in rows
    ]


def _row(system: SystemResult) -> dict[str, str]:
    changed = system.name != "generalist"
    return {
        "title": system.title,
        "accuracy": _mean(system.accuracy),
        "conditional": _mean(system.conditional),
        "within": _mean(system.within),
        "seeds": str(len(system.accuracy)),
        "relative": _interval(system.relative) if changed and system.relative else "",
        "gain": _interval(system.gain) if changed else "",
    }


def _mean(values: tuple[float | None, ...]) -> str:
    if None in values:
        return ""
    interval = mean_interval([100 * value for value in values])
    if interval.n == 1:
        return f"{interval.value:.2f}"
    return f"{interval.value:.2f} ± {interval.high - interval.value:.2f}"


def _interval(interval: IntervalRecord) -> str:
    if interval.high is None:
        return f"{100 * interval.value:+.2f}"
    return f"{100 * interval.value:+.2f} ± {100 * (interval.high - interval.value):.2f}"


def _kept(study: StudyRecord) -> list[str]:
    found = []
    for what, interval in (
        ("The one net that all was distilled back into keeps", study.kept),
        ("The control, the generalist distilled into itself, reaches", study.kept_by_self),
    ):
        if interval is not None:
            found.append(f"{what} {100 * interval.value:.0f} % of the gain of the specialists.")
    return found


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.1f}"
