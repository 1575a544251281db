"""The part of a run's page that shows how the student of a budget was found."""

from typing import Any

from keras_distill.records import Candidate, RunRecord
from keras_distill.report import _words
from keras_distill.report._charts import Chart
from keras_distill.report._colors import DISTILLED, SERIES
from keras_distill.report._intervals import wilson
from keras_distill.report._plots import Point, Reference, scatter

HEADER = ("candidate", "parameters", "bytes", "latency ratio", "rounds", "accuracy, %", "outcome")


def section(record: RunRecord) -> dict[str, Any] | None:
    """Returns header, rows, chart, and sentences; None if the recipe named its student."""
    search = record.search
    if search is None:
        return None
    return {
        "header": HEADER,
        "rows": [_row(one) for one in search.candidates],
        "chosen": [place for place, one in enumerate(search.candidates) if one.outcome == "chosen"],
        "chart": trade_off(record) if any(one.rounds for one in search.candidates) else None,
        "sentences": sentences(record),
    }


def _row(one: Candidate) -> tuple[str, ...]:
    return (
        one.title,
        f"{one.parameters:,}",
        f"{one.bytes:,}",
        "" if one.latency_ratio is None else f"{one.latency_ratio:.2f}",
        " + ".join(str(part.epochs) for part in one.rounds),
        f"{100 * one.rounds[-1].validation_accuracy:.1f}" if one.rounds else "",
        f"{one.outcome}: {one.reason}" if one.reason else one.outcome,
    )


def sentences(record: RunRecord) -> list[str]:
    """Says how the student was chosen."""
    search = record.search
    if search is None:
        return []
    ranked = sum(one.outcome != "over the budget" for one in search.candidates)
    share = search.epochs / max(1, search.epochs_in_full)
    return [
        f"{ranked} of {len(search.candidates)} candidates keep to the budget. A short distillation"
        f" ranked them by validation accuracy, the better half going on to the next round:"
        f" {search.epochs} epochs, {100 * share:.0f} % of training all of them in full. Chosen:"
        f" {search.chosen.title}."
    ]


def trade_off(record: RunRecord) -> Chart:
    """Plots the bytes of each ranked candidate against its accuracy in its last round."""
    search, budget = record.search, record.recipe.budget
    assert search is not None and budget is not None
    points: list[Point] = []
    for one in search.candidates:
        if not one.rounds:
            continue
        last = one.rounds[-1]
        low, high = wilson(last.validation_accuracy, record.data.validation)
        chosen = one.outcome == "chosen"
        points.append(
            Point(
                one.name,
                DISTILLED if chosen else SERIES[7],
                one.bytes / 1024,
                100 * last.validation_accuracy,
                f"{one.title}: {_words.percent(last.validation_accuracy)} after {last.epochs}"
                f" epochs, {_words.size(one.bytes)}",
                y_range=(100 * low, 100 * high),
                shape="diamond" if chosen else "circle",
            )
        )
    teacher = record.teacher.validation_accuracy
    return scatter(
        points,
        x="size of the file, KiB",
        y="validation accuracy, %",
        summary="Bytes of each candidate against its validation accuracy in its last round.",
        references=[] if teacher is None else [Reference("teacher", SERIES[7], 100 * teacher)],
        log_x=False,
    )
