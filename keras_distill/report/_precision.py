"""The page of a model's sensitivity to quantization. Does not need TensorFlow."""

from keras_distill.records import CalibrationChoice, ExplainRecord, Sensitivity
from keras_distill.report._cells import EMPTY, Cell, Table
from keras_distill.report._charts import WIDE, Chart
from keras_distill.report._colors import DISTILLED, SOFT
from keras_distill.report._plots import Row, intervals
from keras_distill.report._template import render_template

_SHOWN = 24  # bars of a chart
_UNUSABLE = 100.0  # noise above which a file is useless
_SENSITIVITY = {
    "layers": "",
    "operators": "",
    "noise, %": "Root mean square of the difference to the float32 file, over the standard"
    " deviation of its outputs.",
    "agreement, %": "Share of rows with the same prediction.",
    "bytes saved": "By how much the file gets smaller.",
}
_CALIBRATION = {
    "ranges of activations": "Minimum and maximum over the rows, or their moving average.",
    "scales of weights": "By minimum and maximum, by OCTAV (clips where the mean squared error is"
    " smallest), or by a search for the smallest squared error.",
    "biases": "Corrected for the shift that rounded weights cause, or not.",
    "noise, %": _SENSITIVITY["noise, %"],
    "agreement, %": _SENSITIVITY["agreement, %"],
}


def render_explain(record: ExplainRecord) -> str:
    """Renders the page of the sensitivity of a model as self-contained HTML."""
    kinds = list(dict.fromkeys(one.kind for one in record.sensitivity))
    return render_template(
        "explain.html",
        record=record,
        sections=[
            {
                "kind": kind,
                "chart": _chart(kind, _of(record, kind)),
                "table": _table(kind, _of(record, kind)),
            }
            for kind in kinds
        ],
        calibrations=_calibrations(record.calibrations),
    )


def _of(record: ExplainRecord, kind: str) -> list[Sensitivity]:
    return [one for one in record.sensitivity if one.kind == kind]


def _chart(kind: str, found: list[Sensitivity]) -> Chart | None:
    usable = [one for one in found if one.noise < _UNUSABLE][:_SHOWN]
    if not usable:
        return None
    typical = sorted(one.noise for one in usable)[len(usable) // 2]
    rows = [
        Row(
            _shortened(", ".join(one.layers)),
            DISTILLED if one.noise > 2 * typical else SOFT,
            100 * one.noise,
            detail=f"{100 * one.noise:.2f}",
        )
        for one in usable
    ]
    return intervals(
        rows,
        x="noise of the outputs if it alone is quantized, %",
        summary=f"Noise of the outputs if one group of operators alone is quantized to {kind}.",
        width=WIDE,
    )


def _shortened(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:31]}…"


def _table(kind: str, found: list[Sensitivity]) -> Table:
    rows: list[tuple[Cell | str, ...]] = [
        (
            ", ".join(one.layers),
            ", ".join(one.operations),
            _noise(one.noise),
            Cell(f"{100 * one.agreement:.2f}", one.agreement),
            Cell(f"{one.bytes:,}", one.bytes),
        )
        for one in found
    ]
    terms = {name: text for name, text in _SENSITIVITY.items() if text}
    return Table(f"Sensitivity to {kind}", tuple(_SENSITIVITY), rows, terms)


def _noise(value: float) -> Cell:
    return Cell("unusable" if value >= _UNUSABLE else f"{100 * value:.2f}", value)


def _calibrations(found: tuple[CalibrationChoice, ...]) -> Table:
    rows: list[tuple[Cell | str, ...]] = [
        (
            one.ranges,
            one.weights,
            "corrected" if one.corrected else EMPTY,
            Cell("not supported", None, one.reason) if one.noise is None else _noise(one.noise),
            EMPTY if one.agreement is None else Cell(f"{100 * one.agreement:.2f}", one.agreement),
        )
        for one in found
    ]
    return Table("Ways to find the scales of int8", tuple(_CALIBRATION), rows, _CALIBRATION)
