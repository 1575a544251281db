"""Summarizes the record of a sweep: tables and sentences for the page and for the terminal."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from keras_distill._internal._quantity import number_of
from keras_distill.records import NEED_LABELS, IntervalRecord, SweepPoint, SweepRecord

_TERMINAL_ROWS = 40
_SIGNIFICANT = 0.05
_WITHOUT_TEACHER = {
    "alone": "alone",
    "alone all labels": "alone on all labels",
    "label smoothing": "with label smoothing",
}


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Returns a short name for each key: its last word if that is unique and clear.

    Example:
        >>> short_names(["distillation.temperature", "training.epochs", "teacher.epochs"])
        {'distillation.temperature': 'temperature', 'training.epochs': 'training.epochs', \
'teacher.epochs': 'teacher.epochs'}
    """
    last = [key.rpartition(".")[2] for key in keys]
    return {
        key: word if last.count(word) == 1 and word != "model" else key
        for key, word in zip(keys, last, strict=True)
    }


def shown(value: Any) -> str:
    """Returns the value of a key as text.

    Example:
        >>> shown(4.0), shown("mlp:16"), shown(None), shown([])
        ('4', 'mlp:16', 'default', 'default')
        >>> shown([{"loss": "DISTLoss", "weight": 1.0}, {"loss": "HintLoss", "weight": 0.5}])
        'DISTLoss + HintLoss(weight=0.5)'
    """
    if value is None or value == []:
        return "default"
    if isinstance(value, list) and all(isinstance(v, dict) and "loss" in v for v in value):
        return " + ".join(map(_loss, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _loss(values: Mapping[str, Any]) -> str:
    given = {k: v for k, v in values.items() if k != "loss" and (k, v) != ("weight", 1.0)}
    settings = ", ".join(f"{key}={shown(value)}" for key, value in given.items())
    return f"{values['loss']}({settings})" if settings else values["loss"]


def word(point: SweepPoint) -> str:
    """Names the variant of a reference: `alone`, `label smoothing`."""
    return point.variant.partition(":")[0].replace("_", " ")


def title(record: SweepRecord, point: SweepPoint) -> str:
    """Names a point by its values: `temperature 4, alpha 0.9`."""
    names = short_names(record.keys)
    if point.is_reference:
        values = [f"{names[k]} {shown(v)}" for k, v in point.values.items() if v is not None]
        return f"{word(point)} ({', '.join(values)})" if values else word(point)
    return ", ".join(f"{names[key]} {shown(value)}" for key, value in point.values.items())


def columns(record: SweepRecord) -> list[str]:
    """Returns the titles of the table."""
    names = short_names(record.keys)
    compared = any(point.comparison for point in record.points)
    return [
        "",
        *names.values(),
        "seeds",
        "validation, %",
        "test, %",
        *(["minus reference", "p (Holm)"] if compared else []),
    ]


def row(record: SweepRecord, point: SweepPoint) -> list[str]:
    """Returns the cells of one point in the table."""
    mark = "best" if point.name == record.best else "flat" if point.name in record.flat else ""
    cells = [word(point) if point.is_reference else mark]
    cells += [
        "" if value is None and point.is_reference else shown(value)
        for value in point.values.values()
    ]
    failed = f" ({len(point.failures)} failed)" if point.failures else ""
    cells += [f"{len(point.seeds)}{failed}"]
    cells += [percent(point.validation_accuracy), percent(point.test_accuracy)]
    if len(cells) == len(columns(record)):
        return cells
    if point.comparison is None:
        return [*cells, "", ""]
    return [*cells, signed(point.comparison.difference), p_value(point.comparison.p_adjusted)]


def percent(interval: IntervalRecord | None) -> str:
    """Formats a share in percent with its interval: `95.3 ± 0.5`."""
    return _with_half_width(interval, "")


def signed(interval: IntervalRecord | None) -> str:
    """Formats a difference of shares in points with its interval: `+1.2 ± 0.3`."""
    return _with_half_width(interval, "+")


def p_value(p: float | None) -> str:
    """Formats a p-value; returns an empty text for None."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _with_half_width(interval: IntervalRecord | None, sign: str) -> str:
    if interval is None:
        return ""
    text = f"{100 * interval.value:{sign}.2f}"
    if interval.high is None:
        return text
    return f"{text} ± {100 * (interval.high - interval.value):.2f}"


def table(record: SweepRecord) -> tuple[list[str], list[list[str]]]:
    """Returns the columns and rows for a terminal: all points, or the best of many."""
    points = list(record.points)
    if len(points) > _TERMINAL_ROWS:
        points = ranked(record)[:_TERMINAL_ROWS]
    short = {"validation, %": "valid. %", "test, %": "test %", "minus reference": "minus ref."}
    titles = [short.get(name, name) for name in columns(record)]
    cells = [[cell.replace(" ± ", "±") for cell in row(record, point)] for point in points]
    place = titles.index("valid. %")
    for line in cells:  # one interval less, so that a line fits into 80 characters
        line[place] = line[place].partition("±")[0]
    return titles, cells


def ranked(record: SweepRecord) -> list[SweepPoint]:
    """Returns the trained points, best validation accuracy first."""
    accuracies = ((p, p.validation_accuracy) for p in record.points)
    trained = [(accuracy.value, point) for point, accuracy in accuracies if accuracy is not None]
    return [point for _, point in sorted(trained, key=lambda pair: pair[0], reverse=True)]


def note(record: SweepRecord) -> str:
    """Explains the numbers of the table."""
    seeds = max((len(point.seeds) for point in record.points), default=0)
    text = "Mean over the seeds with its 95 % t interval. " if seeds > 1 else "One seed. "
    if len(record.points) > _TERMINAL_ROWS:
        text = f"The best {_TERMINAL_ROWS} of {len(record.points)} points. {text}"
    reads = record.test_reads
    return (
        f"{text}Validation data chose the best point; flat: within one standard error of it. The"
        f" test split was read at the end{f' of {reads} commands' if reads > 1 else ''}."
    )


def sentences(record: SweepRecord) -> list[str]:
    """Returns the conclusions of the sweep that its statistics support, as sentences."""
    if record.best is None:
        return ["Every training failed.", *failures(record)]
    best = record.point(record.best)
    lines = [
        f"Best on validation data: {title(record, best)}: {percent(best.validation_accuracy)} %"
        f" there, {percent(best.test_accuracy)} % on test data.",
        _flat(record),
    ]
    lines += _against_reference(record, best)
    return [*lines, *_of_labels_only(record), *failures(record)]


def _of_labels_only(record: SweepRecord) -> list[str]:
    """Names the losses that learned from few examples, because they need labels."""
    recipe, found = record.recipe, dict[str, None]()
    given = [term.model_dump() for term in recipe.distillation.losses]
    for point in record.points:
        labels = point.values.get("data.labels", recipe.data.labels)
        complete = labels is None or (isinstance(labels, float) and labels == 1)
        if point.is_reference or (complete and recipe.data.unlabeled is None):
            continue
        for term in point.values.get("distillation.losses", given) or ():
            if term["loss"] in NEED_LABELS:
                found[term["loss"]] = None
    return [
        f"Where labels are few, {name} learned from the labeled examples only, because it needs"
        " labels."
        for name in found
    ]


def failures(record: SweepRecord) -> list[str]:
    """Lists the trainings that failed, with the reason."""
    return [
        f"{title(record, point)}, seed {seed} failed: {error}"
        for point in record.points
        for seed, error in point.failures.items()
    ]


def _flat(record: SweepRecord) -> str:
    """Describes the region in which no point is shown to be worse than the best."""
    trained = [p for p in record.points if not p.is_reference and p.validation_accuracy]
    flat = [record.point(name) for name in record.flat]
    error = 100 * (record.standard_error or 0.0)
    if len(flat) == len(trained) > 1:
        return (
            f"All {len(trained)} points are within one standard error ({error:.2f} points) of it."
        )
    if len(flat) == 1:
        return f"No other point is within one standard error ({error:.2f} points) of it."
    names, parts = short_names(record.keys), []
    for key in record.keys:
        values = list({json.dumps(point.values[key]): point.values[key] for point in flat}.values())
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(values) > 1:
            parts.append(f"{names[key]} {shown(min(numbers))} to {shown(max(numbers))}")
        else:
            parts.append(f"{names[key]} {' or '.join(map(shown, values))}")
    return (
        f"Flat region: {len(flat)} of {len(trained)} points are within one standard error"
        f" ({error:.2f} points) of it, inside {', '.join(parts)}."
    )


def _against_reference(record: SweepRecord, best: SweepPoint) -> list[str]:
    compared = [point for point in record.points if point.comparison is not None]
    if not compared or best.comparison is None:
        return []
    reference = record.point(best.comparison.reference)
    name = title(record, reference)
    if reference.is_reference:
        name = f"the student {_WITHOUT_TEACHER[word(reference)]}"
    text = f"Best minus {name}: {signed(best.comparison.difference)} points on test data"
    p = best.comparison.p_adjusted
    if p is None:
        return [f"{text}, on {number_of(best.comparison.difference.n, 'seed')}, without a test."]
    significant = [
        point
        for point in compared
        if point.comparison is not None
        and point.comparison.p_adjusted is not None
        and point.comparison.p_adjusted < _SIGNIFICANT
    ]
    return [
        f"{text}, p = {p_value(p)} after Holm's correction for {len(compared)} paired t tests."
        f" {len(significant)} of {len(compared)} points differ from their reference at 5 %."
    ]
