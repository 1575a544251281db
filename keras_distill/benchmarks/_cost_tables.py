"""Tables of what distilling costs, for the terminal and for Markdown."""

from collections.abc import Sequence

import numpy as np

from keras_distill.records._cost import CostFigure, CostRecord

Section = tuple[str, list[str], list[list[str]]]


def sections(record: CostRecord) -> list[Section]:
    """Title, columns and rows of each table that a record gives.

    Args:
        record: What `cost` measured.
    """
    found = [
        (
            f"One step of {record.student} taught by {record.teacher}, batch {record.batch_size}",
            ["oneDNN", "way", "median ms", "10 % .. 90 %", "steps"],
            [
                [
                    steps.setting,
                    steps.way,
                    f"{np.median(steps.ms):.1f}",
                    "{:.1f} .. {:.1f}".format(*np.percentile(steps.ms, [10, 90])),
                    str(len(steps.ms)),
                ]
                for steps in record.steps
            ],
        )
    ]
    if record.fits:
        found.append(
            (
                f"Fit of {len(record.fits[0].epochs)} epochs of {record.examples} examples",
                ["oneDNN", "way", "build s", "epochs s"],
                [
                    [fit.setting, fit.way, f"{fit.build:.1f}", f"{sum(fit.epochs):.1f}"]
                    for fit in record.fits
                ],
            )
        )
    rows = [[ratio.name, *_interval(ratio), str(ratio.n)] for ratio in record.ratios]
    return [*found, ("Ratios", ["", "ratio", "95 % interval", "pairs"], rows)]


def _interval(figure) -> tuple[str, str]:
    known = figure.low is not None and figure.high is not None
    return f"{figure.value:.3f}", f"{figure.low:.3f} .. {figure.high:.3f}" if known else ""


def markdown(figures: Sequence[CostFigure], machine: str) -> str:
    """Figures and their targets as a Markdown table.

    Args:
        figures: In the order of the table.
        machine: What they were measured on.
    """
    lines = [
        "| figure | value | 95 % interval | n | target | |",
        "|---|---|---|---|---|---|",
    ]
    for figure in figures:
        value, interval = _interval(figure)
        value = f"{figure.value:.2g}" if 0 < abs(figure.value) < 0.01 else value
        mark = {True: "yes", False: "**no**", None: ""}[figure.reached]
        lines.append(
            f"| {figure.name} | {value} | {interval} | {figure.n} | {figure.target} | {mark} |"
        )
    notes = [f"- {figure.name}: {figure.note}." for figure in figures if figure.note]
    return "\n".join([f"Measured on {machine}.", "", *lines, "", *notes, ""])
