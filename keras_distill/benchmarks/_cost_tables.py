"""Tables of what distilling costs, for the terminal and for Markdown."""

import numpy as np

from keras_distill.records._cost import CostRecord

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
