"""The part of a run's page that shows how the teacher was made narrower."""

from typing import Any

from keras_distill.records import RunRecord, ShrinkLayer, ShrinkRecord
from keras_distill.report._axes import Axis
from keras_distill.report._charts import Chart, layer
from keras_distill.report._colors import DISTILLED, TEACHER

HEADER = (
    "layer",
    "kind",
    "channels before",
    "after",
    "parameters before",
    "after",
    "operations before",
    "after",
)
_HEIGHT = 220


def section(record: RunRecord) -> dict[str, Any] | None:
    """Returns header, rows, chart, and sentences; None if the student is no shrunk teacher."""
    found = record.shrink
    if found is None:
        return None
    return {
        "header": HEADER,
        "rows": [_row(one) for one in computing(found)],
        "chart": widths(found),
        "sentences": sentences(found),
    }


def computing(record: ShrinkRecord) -> list[ShrinkLayer]:
    """Returns the layers that multiply their inputs by weights."""
    return [one for one in record.layers if one.macs_before]


def _row(one: ShrinkLayer) -> tuple[str, ...]:
    numbers = (
        one.width_before, one.width_after, one.parameters_before, one.parameters_after,
        one.macs_before, one.macs_after,
    )  # fmt: skip
    return (one.layer, one.kind, *(f"{number:,}" for number in numbers))


def sentences(record: ShrinkRecord) -> list[str]:
    """Explains what was removed, how it was checked, and which layers are not supported."""
    found = [
        f"The student is {record.model} with {record.parameters_after:,} of its"
        f" {record.parameters_before:,} parameters and {record.macs_after:,} of its"
        f" {record.macs_before:,} multiply-accumulate operations per example. It starts from the"
        f" teacher's weights; units were ranked by {record.importance}.",
        "In the check, a copy with all channels gave the same outputs; where nothing reads the"
        " removed channels, the largest relative difference of any tensor is"
        f" {record.removed_difference:.1g}.",
    ]
    if record.removed_blocks:
        found.append(f"Residual blocks that were dropped: {', '.join(record.removed_blocks)}.")
    if record.inexact:
        found.append(
            "These layers normalize over channels, so that their results change when channels"
            f" leave: {', '.join(record.inexact)}."
        )
    if record.fixed:
        kept = (f"{one.layer} ({one.kind}): {one.reason}" for one in record.fixed)
        found.append(f"Not understood, so that their channels stay: {'; '.join(kept)}.")
    return found


def widths(record: ShrinkRecord) -> Chart:
    """Plots the channels of each layer before and after, in the order of the model."""
    shown = computing(record)
    xs = Axis("layer", 0.5, len(shown) + 0.5)
    ys = Axis("channels", 0, 1.05 * max((one.width_before for one in shown), default=1))

    def draw(plot: int) -> dict[str, Any]:
        at = {"x": xs.horizontal(plot, whole=True), "y": ys.vertical(44), "y2": {"field": "y2"}}
        thick = max(1.5, min(32.0, 0.6 * plot / max(1, len(shown))))
        layers = [
            layer(
                "rule",
                [
                    {"x": place, "y": getattr(one, field), "y2": 0, "text": _tip(one)}
                    for place, one in enumerate(shown, start=1)
                ],
                color={"value": color},
                opacity=opacity,
                strokeWidth=thick,
                description={"field": "text"},
                **at,
            )
            for field, color, opacity in (
                ("width_before", TEACHER, 0.35),
                ("width_after", DISTILLED, 1),
            )
        ]
        return {"height": _HEIGHT, "layer": layers}

    return Chart("Channels of each layer of the teacher and of the student.", draw)


def _tip(one: ShrinkLayer) -> str:
    return f"{one.layer}: {one.width_before} to {one.width_after} channels"
