"""Shows the comparison of runs as tables and as a page. Does not need TensorFlow."""

from keras_distill._internal._quantity import number_of
from keras_distill.records import CompareRecord
from keras_distill.report._cells import Cell, Table
from keras_distill.report._charts import WIDE, Chart
from keras_distill.report._colors import DISTILLED, SOFT
from keras_distill.report._plots import Reference, Row, intervals
from keras_distill.report._sweep_summary import p_value, percent, shown, signed
from keras_distill.report._template import render_template

_TERMS = {
    "test, %": "Mean accuracy over the seeds, with its 95 % t interval.",
    "minus the first": "Points of test accuracy, paired by seed, with the 95 % t interval.",
    "seeds": "Seeds that the run has in common with the first.",
    "p (Holm)": "Two-sided p-value of the paired t test, corrected for all tests of this comparison"
    " by Holm's method.",
}


def settings_table(record: CompareRecord) -> tuple[list[str], list[list[str]]]:
    """Returns columns and rows: a row for each setting that differs."""
    rows = [[s.key, *("" if v is None else shown(v) for v in s.values)] for s in record.settings]
    return ["setting", *record.runs], rows


def results_table(record: CompareRecord) -> tuple[list[str], list[list[str]]]:
    """Returns columns and rows: a row for each result of each run."""
    columns = ["result", "run", *_TERMS]
    rows = [
        [
            result.name,
            run,
            percent(accuracy),
            signed(difference),
            "" if difference is None else str(difference.n),
            p_value(p),
        ]
        for result in record.results
        for run, accuracy, difference, p in zip(
            record.runs, result.accuracies, result.differences, result.p_adjusted, strict=True
        )
        if accuracy is not None
    ]
    return columns, rows


def sentences(record: CompareRecord) -> list[str]:
    """Returns the conclusions about distilled students, and their limitations."""
    found: list[str] = []
    for result in record.results:
        if result.name != "distilled":
            continue
        for run, difference, p in zip(
            record.runs, result.differences, result.p_adjusted, strict=True
        ):
            if difference is None:
                continue
            text = f"Distilled, {run} minus {record.runs[0]}: {signed(difference)} points"
            if p is None:
                found.append(f"{text}, on {number_of(difference.n, 'seed')}, without a test.")
            else:
                found.append(f"{text} over {difference.n} seeds, p = {p_value(p)} (Holm).")
    return [*found, *record.notes]


def render_compare(record: CompareRecord) -> str:
    """Renders the page of a comparison as self-contained HTML.

    Args:
        record: The comparison.
    """
    columns, rows = results_table(record)
    results: list[tuple[Cell | str, ...]] = [tuple(row) for row in rows]
    names, values = settings_table(record)
    settings: list[tuple[Cell | str, ...]] = [tuple(row) for row in values]
    return render_template(
        "compare.html",
        record=record,
        sentences=sentences(record),
        chart=_chart(record),
        settings=Table("Settings that differ", tuple(names), settings, {}),
        results=Table("Results", tuple(columns), results, _TERMS),
    )


def _chart(record: CompareRecord) -> Chart | None:
    """Plots the difference between every run and the first run."""
    rows: list[Row] = []
    for result in record.results:
        for run, difference, p in zip(
            record.runs, result.differences, result.p_adjusted, strict=True
        ):
            if difference is None:
                continue
            low, high = (None if e is None else 100 * e for e in (difference.low, difference.high))
            color = DISTILLED if p is not None and p < 0.05 else SOFT
            text = f"{100 * difference.value:+.2f}"
            name = f"{result.name}, {run}"
            rows.append(Row(name, color, 100 * difference.value, low, high, (), text))
    if not rows:
        return None
    return intervals(
        rows,
        x=f"minus {record.runs[0]}, points of test accuracy",
        summary="Difference of each run to the first, with its 95 % interval.",
        reference=Reference("no difference", SOFT, 0.0),
        width=WIDE,
    )
