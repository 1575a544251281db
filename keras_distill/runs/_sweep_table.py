"""Computes the results of a sweep: record, statistics, and the table in long form."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_distill._internal import _machine
from keras_distill._internal._stats import holm, mean_interval, paired_difference, paired_p_value
from keras_distill.records import (
    Comparison,
    Curve,
    IntervalRecord,
    JobRecord,
    Recipe,
    SeedResult,
    SweepPart,
    SweepPoint,
    SweepRecord,
    SweepTeacher,
)
from keras_distill.runs._sweep_plan import DISTILLED, Point, matters
from keras_distill.runs._trackers import setting


class Outcome(NamedTuple):
    """The results of a sweep's jobs, by name.

    Attributes:
        teachers: The records of the teachers' jobs.
        stores: The records of the stores' jobs.
        students: The records of the students' jobs.
        tested: The test accuracies of teachers and students.
    """

    teachers: Mapping[str, JobRecord]
    stores: Mapping[str, JobRecord]
    students: Mapping[str, JobRecord]
    tested: Mapping[str, float]

    def failure(self, point: Point, seed: int) -> str | None:
        """Returns why a training failed; None if it did not fail."""
        if point.teacher is not None and self.teachers[point.teacher].error is not None:
            return f"its teacher failed: {self.teachers[point.teacher].error}"
        if point.store is not None and self.stores[point.store].error is not None:
            return f"its soft targets failed: {self.stores[point.store].error}"
        return self.students[point.student(seed)].error

    def results(self, point: Point) -> list[SeedResult]:
        """Returns the results of the completed trainings of a point."""
        found: list[SeedResult] = []
        for seed in point.seeds:
            name = point.student(seed)
            if name in self.tested:
                result = self.students[name].result
                found.append(
                    SeedResult(
                        seed=seed,
                        validation_accuracy=result["validation_accuracy"],
                        test_accuracy=self.tested[name],
                        seconds=result["seconds"],
                        curve=Curve.parse(result["curve"], source=name),
                    )
                )
        return found


def sweep_record(
    recipe: Recipe,
    scale: str,
    points: Sequence[Point],
    outcome: Outcome,
    earlier: SweepRecord | None,
    *,
    started: str,
    seconds: float,
) -> SweepRecord:
    """Makes the record of a sweep.

    Args:
        recipe: The recipe.
        scale: `full` or `smoke`.
        points: The points.
        outcome: The results of the jobs.
        earlier: The record of earlier commands; None without one.
        started: Time at which the first command started, ISO 8601.
        seconds: Wall time of all commands.
    """
    keys = varied_keys(recipe, earlier)
    made = [_point(point, outcome, keys) for point in points]
    made = _compared(made, {p.name: p.reference for p in points if p.reference})
    best, error, flat = _best(made, outcome)
    reads = 0 if earlier is None else earlier.test_reads
    return SweepRecord(
        recipe=recipe,
        scale=scale,
        versions=_machine.versions(),
        machine=_machine.describe(),
        started=started,
        seconds=seconds,
        keys=keys,
        teachers=tuple(
            SweepTeacher(
                name=name,
                test_accuracy=outcome.tested[name],
                seconds=record.seconds,
                store_bytes=_store_bytes(points, outcome, name),
                **record.result,
            )
            for name, record in outcome.teachers.items()
            if record.status == "done"
        ),
        points=tuple(made),
        best=None if best is None else best.name,
        best_seed=None
        if best is None
        else max(best.seeds, key=lambda result: result.validation_accuracy).seed,
        flat=flat,
        standard_error=error,
        test_reads=reads + 1,
    )


def _store_bytes(points: Sequence[Point], outcome: Outcome, teacher: str) -> int:
    stores = {point.store for point in points if point.teacher == teacher}
    records = [outcome.stores[name] for name in stores if name is not None]
    return sum(record.result["store_bytes"] for record in records if record.status == "done")


def varied_keys(recipe: Recipe, earlier: SweepRecord | None) -> tuple[str, ...]:
    """Returns the keys that vary over the sweep, those of earlier commands first."""
    part = recipe.sweep or SweepPart()
    asked = [*part.expanded(), *([part.reference] if isinstance(part.reference, dict) else [])]
    before = () if earlier is None else earlier.keys
    return tuple(dict.fromkeys([*before, *(key for changes in asked for key in changes)]))


def _point(point: Point, outcome: Outcome, keys: Sequence[str]) -> SweepPoint:
    seeds = outcome.results(point)
    failures = {str(seed): outcome.failure(point, seed) for seed in point.seeds}
    about = outcome.students[point.student(seeds[0].seed)].result if seeds else {}
    return SweepPoint(
        name=point.name,
        variant=point.variant,
        values={key: _value(point, key) for key in keys},
        teacher=point.teacher if point.taught else None,
        labels=about.get("labels"),
        parameters=about.get("parameters"),
        steps=about.get("steps"),
        seeds=tuple(seeds),
        failures={seed: error for seed, error in failures.items() if error is not None},
        validation_accuracy=_mean([s.validation_accuracy for s in seeds]),
        test_accuracy=_mean([s.test_accuracy for s in seeds]),
    )


def _mean(values: Sequence[float]) -> IntervalRecord | None:
    return IntervalRecord.of(mean_interval(values)) if values else None


def _value(point: Point, key: str) -> Any:
    """Returns the value of a dotted key; None if it is not set, or has no effect on the point."""
    if not matters(point.variant, key):
        return None
    return setting(point.recipe, key)


def _compared(points: Sequence[SweepPoint], references: Mapping[str, str]) -> list[SweepPoint]:
    """Adds the comparison of every point with its reference, with Holm's correction for all."""
    by_name = {point.name: point for point in points}
    pairs: dict[str, tuple[list[float], list[float]]] = {}
    for name, reference in references.items():
        other = {result.seed: result.test_accuracy for result in by_name[reference].seeds}
        own = [result for result in by_name[name].seeds if result.seed in other]
        if own:
            pairs[name] = [r.test_accuracy for r in own], [other[r.seed] for r in own]
    p_values = [paired_p_value(*pair) for pair in pairs.values()]
    adjusted = dict(zip(pairs, zip(p_values, holm(p_values), strict=True), strict=True))
    return [
        point.model_copy(
            update={
                "comparison": Comparison(
                    reference=references[point.name],
                    difference=IntervalRecord.of(paired_difference(*pairs[point.name])),
                    p=adjusted[point.name][0],
                    p_adjusted=adjusted[point.name][1],
                )
            }
        )
        if point.name in pairs
        else point
        for point in points
    ]


def _best(
    points: Sequence[SweepPoint], outcome: Outcome
) -> tuple[SweepPoint | None, float | None, tuple[str, ...]]:
    """Finds the best point on validation data, its standard error, and the flat region around it.

    The flat region contains the points whose mean accuracy is within one standard error of the best
    (Breiman, Friedman, Olshen, Stone 1984, section 3.4.3). With two or more seeds, this is the
    error of the mean over the seeds; with one seed, the binomial error of the validation split.
    """
    trained = [p for p in points if p.variant == DISTILLED and p.validation_accuracy is not None]
    if not trained:
        return None, None, ()

    def accuracy(point: SweepPoint) -> float:
        assert point.validation_accuracy is not None  # selected above
        return point.validation_accuracy.value

    best = max(trained, key=accuracy)
    values = [result.validation_accuracy for result in best.seeds]
    if len(values) > 1:
        error = float(np.std(values, ddof=1) / math.sqrt(len(values)))
    else:
        examples = outcome.students[f"{best.name}-s{best.seeds[0].seed}"].result["validation"]
        error = math.sqrt(values[0] * (1 - values[0]) / examples)
    flat = tuple(p.name for p in trained if accuracy(p) >= accuracy(best) - error)
    return best, error, flat


def sweep_csv(record: SweepRecord) -> str:
    """Returns the results in long form: one row per point and seed, as CSV.

    It contains no times, so the result of an interrupted and resumed sweep is byte-identical.
    """
    columns = ["point", "variant", *record.keys, "seed", "teacher", "labels", "parameters"]
    columns += ["steps", "validation_accuracy", "test_accuracy", "error"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for point in record.points:
        about = [point.name, point.variant, *map(_cell, point.values.values())]
        rest = [point.teacher, point.labels, point.parameters, point.steps]
        for result in point.seeds:
            scores = [repr(result.validation_accuracy), repr(result.test_accuracy), ""]
            writer.writerow([*about, result.seed, *map(_cell, rest), *scores])
        for seed, error in point.failures.items():
            writer.writerow([*about, seed, *map(_cell, rest), "", "", error])
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
