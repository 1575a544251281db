"""Formats measurements as rows of tables, for the terminal and for Markdown."""

from keras_distill.records import ExplainRecord, PrecisionRecord, Sensitivity

CANDIDATE_COLUMNS = (
    "file",
    "bytes",
    "lost, points",
    "worst class",
    "agreement",
    "latency ratio",
    "front",
    "result",
)
SENSITIVITY_COLUMNS = ("layers", "operators", "kind", "noise", "agreement", "bytes saved")
CALIBRATION_COLUMNS = (
    "ranges of activations",
    "scales of weights",
    "biases",
    "noise",
    "agreement",
)


def candidate_rows(record: PrecisionRecord) -> list[tuple[str, ...]]:
    """Returns a row of `CANDIDATE_COLUMNS` for each candidate, smallest first."""
    return [
        (
            one.name,
            "" if one.bytes is None else f"{one.bytes:,}",
            _number(one.drop, 2),
            _number(one.worst_class_drop, 2),
            "" if one.agreement is None else f"{one.agreement:.2%}",
            _number(one.latency_ratio, 2),
            "*" if one.on_front else "",
            one.outcome,
        )
        for one in record.candidates
    ]


def sensitivity_rows(
    found: tuple[Sensitivity, ...], most: int | None = None
) -> list[tuple[str, ...]]:
    """Returns a row of `SENSITIVITY_COLUMNS` for each group, at most `most` for each kind."""
    rows: list[tuple[str, ...]] = []
    for kind in dict.fromkeys(one.kind for one in found):
        own = [one for one in found if one.kind == kind][:most]
        rows += [
            (
                ", ".join(one.layers),
                ", ".join(one.operations),
                one.kind,
                f"{one.noise:.2%}" if one.noise < 100 else "unusable",
                f"{one.agreement:.2%}",
                f"{one.bytes:,}",
            )
            for one in own
        ]
    return rows


def calibration_rows(record: ExplainRecord) -> list[tuple[str, ...]]:
    """Returns a row of `CALIBRATION_COLUMNS` for each method to determine scales."""
    return [
        (
            one.ranges,
            one.weights,
            "corrected" if one.corrected else "",
            "not supported" if one.noise is None else f"{one.noise:.2%}",
            "" if one.agreement is None else f"{one.agreement:.2%}",
        )
        for one in record.calibrations
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
