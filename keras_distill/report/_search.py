"""The part of a run's page that shows how the student of a budget was found."""

from collections.abc import Callable, Sequence
from typing import Any

from keras_distill.records import Candidate, RunRecord, SearchRecord
from keras_distill.report import _words
from keras_distill.report._charts import Chart
from keras_distill.report._colors import DISTILLED, SERIES
from keras_distill.report._intervals import wilson
from keras_distill.report._plots import Point, Reference, scatter

# For a candidate: the column, the value (smaller is better), and the value as text.
_COSTS: tuple[tuple[str, Callable[[Candidate], float | None], Callable[[Any], str]], ...] = (
    ("bytes", lambda one: one.bytes, "{:,}".format),
    ("latency ratio", lambda one: one.latency_ratio, "{:.2f}".format),
    ("arena bytes", lambda one: one.arena_bytes, "{:,}".format),
)
_AXES = {
    "bytes": "size of the file, KiB",
    "latency ratio": "latency, teacher = 1",
    "arena bytes": "memory on a microcontroller, KiB",
}


def section(record: RunRecord) -> dict[str, Any] | None:
    """Returns header, rows, charts, and sentences; None if the recipe named its student."""
    search = record.search
    if search is None:
        return None
    ranked = [one for one in search.candidates if one.rounds]
    columns = [column for column in _COSTS if any(column[1](one) for one in search.candidates)]
    epochs = f"accuracy after {_epochs(ranked[0])}, % (95 %)" if ranked else "accuracy"
    best = front(search)
    return {
        "header": (
            *("candidate", "parameters", *(name for name, _, _ in columns)),
            *(epochs, "later rounds, %", "front", "outcome"),
        ),
        "rows": [
            (
                *(one.title, f"{one.parameters:,}"),
                *(_cell(of(one), text) for _, of, text in columns),
                *_accuracies(one, record.data.validation),
                "yes" if one in best else "",
                f"{one.outcome}: {one.reason}" if one.reason else one.outcome,
            )
            for one in search.candidates
        ],
        "chosen": [place for place, one in enumerate(search.candidates) if one.outcome == "chosen"],
        "charts": [_chart(record, best, name, of) for name, of, _ in columns if ranked],
        "sentences": sentences(record),
    }


def front(search: SearchRecord) -> list[Candidate]:
    """Returns the Pareto front: the ranked candidates that no other candidate dominates.

    A candidate dominates another if it is at least as small, as fast, and as accurate after the
    first round, and strictly better in one of these.
    """
    ranked = [one for one in search.candidates if one.rounds]
    values = [[*(of(one) or 0 for _, of, _ in _COSTS), -_first(one)] for one in ranked]
    return [
        one
        for one, own in zip(ranked, values, strict=True)
        if not any(o != own and all(map(float.__le__, map(float, o), map(float, own)))
                   for o in values)
    ]  # fmt: skip


def sentences(record: RunRecord) -> list[str]:
    """Explains how the student was chosen, and why."""
    search = record.search
    if search is None:
        return []
    ranked = [one for one in search.candidates if one.outcome != "over the budget"]
    keeps = "keeps" if len(ranked) == 1 else "keep"
    text = f"{len(ranked)} of {len(search.candidates)} candidates {keeps} to the budget."
    if search.epochs:
        share = search.epochs / max(1, search.epochs_in_full)
        several = max(len(one.rounds) for one in ranked) > 1
        again = ", the better half again for twice as long" if several else ""
        text += (
            f" A short distillation ranked them by validation accuracy{again}: {search.epochs}"
            f" epochs, {100 * share:.0f} % of training all of them in full."
        )
    return [f"{text} {_why(search.chosen, ranked)}"]


def _why(chosen: Candidate, ranked: Sequence[Candidate]) -> str:
    """Explains why the chosen candidate was chosen."""
    others = [one for one in ranked if one is not chosen and one.rounds]
    if not others:
        return f"Chosen: {chosen.title}, the only one."
    last = max(len(one.rounds) for one in others)
    other = max((one for one in others if len(one.rounds) == last), key=_last)
    text = f"Chosen: {chosen.title}, with {_words.percent(_last(chosen))} in the last round, after"
    text += f" {_epochs(chosen, -1)}; next is {other.title} with {_words.percent(_last(other))}"
    if _last(chosen) == _last(other):
        return f"{text} and {other.bytes:,} bytes instead of {chosen.bytes:,}."
    return f"{text}."


def _chart(
    record: RunRecord,
    best: Sequence[Candidate],
    name: str,
    cost: Callable[[Candidate], float | None],
) -> Chart:
    """Plots a cost of each ranked candidate against its accuracy after the first round."""
    assert record.search is not None  # guaranteed by the caller
    points: list[Point] = []
    for one in record.search.candidates:
        value = cost(one)
        if not one.rounds or value is None:
            continue
        low, high = wilson(_first(one), record.data.validation)
        points.append(
            Point(
                one.name if one in best else "",
                DISTILLED if one in best else SERIES[7],
                value / 1024 if "bytes" in name else value,
                100 * _first(one),
                f"{one.title}: {_words.percent(_first(one))} after {_epochs(one)},"
                f" {_words.size(one.bytes)}",
                y_range=(100 * low, 100 * high),
                shape="diamond" if one.outcome == "chosen" else "circle",
            )
        )
    teacher = record.teacher.validation_accuracy
    title = _AXES[name]
    return scatter(
        points,
        x=title,
        y="validation accuracy, %",
        summary=f"{title} of each candidate against its accuracy after the first round.",
        references=[] if teacher is None else [Reference("teacher", SERIES[7], 100 * teacher)],
        log_x=False,
    )


def _accuracies(one: Candidate, examples: int) -> tuple[str, str]:
    if not one.rounds:
        return "", ""
    low, high = wilson(_first(one), examples)
    first = f"{100 * _first(one):.1f} ({100 * low:.1f} to {100 * high:.1f})"
    later = [f"{100 * part.validation_accuracy:.1f}" for part in one.rounds[1:]]
    return first, ", ".join(later)


def _first(one: Candidate) -> float:
    return one.rounds[0].validation_accuracy


def _last(one: Candidate) -> float:
    return one.rounds[-1].validation_accuracy if one.rounds else 0.0


def _epochs(one: Candidate, place: int = 0) -> str:
    count = one.rounds[place].epochs
    return f"{count} epoch{'s' if count > 1 else ''}"


def _cell(value: float | None, text: Callable[[Any], str]) -> str:
    return "" if value is None else text(value)
