"""Prepares the classes and examples of the test split that the page of a run shows."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from keras_distill.records import ExploredExample, ExploreRecord
from keras_distill.report import _words
from keras_distill.report._cells import Cell, Table
from keras_distill.report._charts import Chart
from keras_distill.report._colors import ALONE, DISTILLED, FILE, TEACHER
from keras_distill.report._plots_classes import ClassDots, Look, class_dots, reliability

LOOKS = {
    "teacher": Look("teacher", TEACHER, "square"),
    "alone": Look("alone", ALONE, "triangle-up"),
    "distilled": Look("distilled", DISTILLED, "circle"),
    "file": Look("file", FILE, "diamond"),
}
_CLASSES_DRAWN = 20
_CLASSES_LISTED = 12  # bars of one example
_CONFUSIONS = 12
_T_MIN, _T_MAX = 1.0, 20.0
_REASONS = {
    "disagreement": "Teacher and student disagree most",
    "uncertain": "The teacher is right, and least certain",
    "spread": "Spread evenly over the test split",
}


class Bar(NamedTuple):
    """A class of one example: its name, and its probability for teacher and student."""

    name: str
    teacher: float
    student: float


@dataclass(frozen=True)
class Shown:
    """An example in the form in which the page shows it.

    Attributes:
        number: Its position in the data of the page.
        index: Its index in the test split.
        label: Name of its class.
        predictions: By model: look, predicted class, probability in percent, and whether right.
        image: A data URL; empty if it is not an image.
        line: Points of a line in a box of 100 x 30, for a signal; otherwise empty.
        values: Its values as text, for a row of a table; otherwise empty.
    """

    number: int
    index: int
    label: str
    predictions: list[tuple[Look, str, str, bool]]
    image: str
    line: str
    values: str


@dataclass(frozen=True)
class Exploration:
    """All values for the template."""

    looks: list[Look]
    classes: Chart
    classes_note: str
    class_table: Table
    confusions: Table | None
    reliability: list[tuple[str, Chart, str]]
    groups: list[tuple[str, str, list[Shown]]]
    first: Shown | None
    bars: list[Bar]
    temperature: float
    data: Markup


def exploration(record: ExploreRecord, temperature: float) -> Exploration:
    """Prepares the record for the template.

    Args:
        record: The record.
        temperature: Initial temperature of the bars.
    """
    temperature = min(max(temperature, _T_MIN), _T_MAX)
    shown = [_shown(record, number) for number in range(len(record.examples))]
    groups = [
        (reason, title, [s for s in shown if record.examples[s.number].picked == reason])
        for reason, title in _REASONS.items()
    ]
    groups = [group for group in groups if group[2]]
    most_telling = next((g[2][0] for g in groups if g[0] == "uncertain"), None)
    first = most_telling or next(iter(shown), None)
    drawn, note = _classes(record)
    return Exploration(
        looks=[LOOKS[model.name] for model in record.models],
        classes=drawn,
        classes_note=note,
        class_table=_class_table(record),
        confusions=_confusions(record),
        reliability=[
            (
                LOOKS[model.name].name,
                reliability(model, LOOKS[model.name].color),
                f"calibration error {100 * model.expected_calibration_error:.1f} %",
            )
            for model in record.models
        ],
        groups=groups,
        first=first,
        bars=[] if first is None else _bars(record, record.examples[first.number], temperature),
        temperature=temperature,
        data=_data(record, temperature, first),
    )


def softmax(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Computes exp(z_i/T) / sum_j exp(z_j/T).

    Example:
        >>> [round(p, 3) for p in softmax([0.0, 2.0], 2.0)]
        [0.269, 0.731]
    """
    highest = max(logits)
    powers = [math.exp((z - highest) / temperature) for z in logits]
    total = sum(powers)
    return [power / total for power in powers]


def _accuracies(record: ExploreRecord) -> list[tuple[int, list[float]]]:
    """Returns class id and accuracy by model in percent, for every class with examples."""
    return [
        (number, [100 * model.correct[number] / examples for model in record.models])
        for number, examples in enumerate(record.class_examples)
        if examples
    ]


def _classes(record: ExploreRecord) -> tuple[Chart, str]:
    found = _accuracies(record)
    note = ""
    if len(found) > _CLASSES_DRAWN:
        found = sorted(found, key=lambda row: min(row[1]) - max(row[1]))[:_CLASSES_DRAWN]
        note = f"The {_CLASSES_DRAWN} classes on which the models differ most."
    drawn = class_dots(
        [ClassDots(record.class_names[number], values) for number, values in found],
        [LOOKS[model.name] for model in record.models],
        x="test accuracy, %",
        summary="Test accuracy of each model by class.",
    )
    return drawn, note


def _class_table(record: ExploreRecord) -> Table:
    names = [LOOKS[model.name].name for model in record.models]
    rows: list[tuple[Cell | str, ...]] = [
        (
            record.class_names[number],
            f"{record.class_examples[number]:,}",
            *(f"{value:.1f}" for value in values),
        )
        for number, values in _accuracies(record)
    ]
    columns = ("class", "examples", *(f"{name}, %" for name in names))
    return Table("Test accuracy by class", columns, rows, {})


def _confusions(record: ExploreRecord) -> Table | None:
    """Lists the confusions that distillation changed most; all models if none is alone."""
    names = [model.name for model in record.models]
    before = names.index("alone") if "alone" in names else 0
    after = names.index("distilled")
    changes = [(item.counts[after] - item.counts[before], item) for item in record.confusions]
    changes = sorted((c for c in changes if c[0]), key=lambda c: (-abs(c[0]), -max(c[1].counts)))
    if not changes:
        return None
    rows: list[tuple[Cell | str, ...]] = [
        (
            f"{record.class_names[item.label]} → {record.class_names[item.predicted]}",
            *(str(count) for count in item.counts),
            Cell(f"{abs(change)} {'more' if change > 0 else 'fewer'}", change),
        )
        for change, item in changes[:_CONFUSIONS]
    ]
    reference = LOOKS[names[before]].name
    return Table(
        "Confusions that changed most",
        ("class → predicted", *(LOOKS[name].name for name in names), "change"),
        rows,
        {
            "class → predicted": "Examples of the first class that are predicted as the second.",
            "change": f"Of the distilled student against the {reference} one."
            if reference == "alone"
            else f"Of the distilled student against the {reference}.",
        },
    )


def _shown(record: ExploreRecord, number: int) -> Shown:
    example = record.examples[number]
    predictions: list[tuple[Look, str, str, bool]] = []
    for model, logits in zip(record.models, example.logits, strict=True):
        best = max(range(len(logits)), key=lambda k: logits[k])
        share = _words.percent(softmax(logits)[best], 0)
        name = record.class_names[best]
        predictions.append((LOOKS[model.name], name, share, best == example.label))
    values = example.values or ()
    signal = len(values) > _CLASSES_LISTED
    return Shown(
        number,
        example.index,
        record.class_names[example.label],
        predictions,
        "" if example.image is None else f"data:image/png;base64,{example.image}",
        _polyline(values) if signal else "",
        "" if signal else ", ".join(f"{value:g}" for value in values),
    )


def _polyline(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    step = 100 / (len(values) - 1)
    return " ".join(
        f"{step * place:.1f},{29 - 28 * (value - low) / (high - low or 1):.1f}"
        for place, value in enumerate(values)
    )


def _pair(record: ExploreRecord, example: ExploredExample) -> tuple[Any, Any]:
    by_name = {m.name: z for m, z in zip(record.models, example.logits, strict=True)}
    return by_name["teacher"], by_name["distilled"]


def _bars(record: ExploreRecord, example: ExploredExample, temperature: float) -> list[Bar]:
    teacher, student = _pair(record, example)
    order = list(range(len(teacher)))
    if len(order) > _CLASSES_LISTED:
        order = sorted(order, key=lambda k: -teacher[k])[:_CLASSES_LISTED]
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    return [Bar(record.class_names[k], p[k], q[k]) for k in order]


def _data(record: ExploreRecord, temperature: float, first: Shown | None) -> Markup:
    """Returns the data for the script, as JSON that cannot close its `<script>` element."""
    values = {
        "classes": record.class_names,
        "listed": _CLASSES_LISTED,
        "temperature": temperature,
        "first": None if first is None else first.number,
        "examples": [
            {
                "index": example.index,
                "label": example.label,
                "logits": _pair(record, example),
            }
            for example in record.examples
        ],
    }
    text = json.dumps(values, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
