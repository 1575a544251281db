"""The record of a sweep: `sweep.json`."""

from typing import Any

from pydantic import Field

from keras_distill._internal import InputError
from keras_distill.records._base import Measured, Record
from keras_distill.records._recipe import Recipe
from keras_distill.records._run import IntervalRecord, SeedResult

_MAX_POINTS = 20_000


class SweepTeacher(Record):
    """One teacher of a sweep and its store, shared by all points that differ in nothing it sees.

    Attributes:
        name: Name of its folder in `teachers/`.
        model: Spec or file, as in the recipe.
        source: The data.
        train: Training examples.
        validation: Validation examples.
        test: Test examples.
        parameters: Number of parameters; None where that is not known.
        validation_accuracy: Share of the validation split; None if its store was built before.
        test_accuracy: Share of the test split; None likewise.
        fingerprint: SHA-256 of what determines its soft targets; None where that is not known.
        store_bytes: Bytes of its stores of soft targets.
        seconds: Wall time of its training.
    """

    name: str
    model: str
    source: str
    train: int
    validation: int
    test: int
    parameters: int | None
    validation_accuracy: float | None
    test_accuracy: float | None
    fingerprint: str | None
    store_bytes: int
    seconds: float


class Comparison(Record):
    """A point against the reference, paired by seed, on the test split.

    Attributes:
        reference: The name of the point that it is compared with.
        difference: Point minus reference, mean over the seeds with its 95 % t interval.
        p: Two-sided p-value of the paired t test; None with fewer than two seeds in common.
        p_adjusted: After Holm's correction for all comparisons of the sweep (Holm 1979).
    """

    reference: str
    difference: IntervalRecord
    p: Measured
    p_adjusted: Measured


class SweepPoint(Record):
    """One point of a sweep, over all seeds.

    Attributes:
        name: Its name, which depends on its settings alone.
        variant: `distilled`, or that of a reference without a teacher.
        values: The values of the keys that vary over the sweep.
        teacher: The name of its teacher; None without, or if the recipe names a store.
        labels: Labels that the student sees.
        parameters: Parameters of the student.
        steps: Training steps.
        seeds: Each training that was completed.
        failures: Why others failed, by seed.
        validation_accuracy: Mean over the seeds with its 95 % t interval; None without any.
        test_accuracy: Likewise.
        comparison: With the reference; None without one.
    """

    name: str
    variant: str
    values: dict[str, Any]
    teacher: str | None
    labels: int | None = None
    parameters: int | None = None
    steps: int | None = None
    seeds: tuple[SeedResult, ...] = ()
    failures: dict[str, str] = Field(default={})
    validation_accuracy: IntervalRecord | None = None
    test_accuracy: IntervalRecord | None = None
    comparison: Comparison | None = None

    @property
    def is_reference(self) -> bool:
        """Whether it is a student trained without a teacher, for comparison only."""
        return self.variant != "distilled"


class SweepRecord(Record):
    """Everything that a sweep measured. Its page shows these numbers and no others.

    Attributes:
        recipe: The recipe that the points are changes of.
        scale: `full`, or `smoke` (two steps of everything: the numbers mean nothing).
        versions: Package versions, and `onednn` on or off.
        machine: Processor and core count.
        started: ISO 8601, UTC: when the first command began.
        seconds: Wall time of the commands that finished it or added to it.
        keys: The keys that vary.
        teachers: The teachers.
        points: The points, in the order in which they were asked for, references last.
        best: The point with the best mean validation accuracy; None if all failed.
        best_seed: Its seed with the best validation accuracy: `student.keras`.
        flat: The points within one standard error of the best, on validation data.
        standard_error: That of the best point's validation accuracy.
        test_reads: How many commands evaluated students on the test split.
    """

    recipe: Recipe
    scale: str
    versions: dict[str, str] = Field(max_length=1000)
    machine: str
    started: str
    seconds: float
    keys: tuple[str, ...]
    teachers: tuple[SweepTeacher, ...]
    points: tuple[SweepPoint, ...] = Field(max_length=_MAX_POINTS)
    best: str | None
    best_seed: int | None
    flat: tuple[str, ...]
    standard_error: Measured
    test_reads: int

    def check(self) -> None:
        """Compares the values with each other; see `Record.check`."""
        names = {point.name for point in self.points}
        if len(names) < len(self.points):
            raise InputError("`points` must have different names.")
        teachers = {teacher.name for teacher in self.teachers}
        for point in self.points:
            if set(point.values) != set(self.keys):
                raise InputError(f"`values` of {point.name} must have the keys of `keys`.")
            if point.teacher is not None and point.seeds and point.teacher not in teachers:
                raise InputError(f"`teacher` of {point.name} must be one of `teachers`.")
            if point.comparison is not None and point.comparison.reference not in names:
                raise InputError(f"`comparison` of {point.name} must be with one of `points`.")
        if not {*self.flat, *filter(None, [self.best])} <= names:
            raise InputError("`best` and `flat` must name points.")

    def point(self, name: str) -> SweepPoint:
        """Returns the point of that name.

        Raises:
            KeyError: If there is none.
        """
        for point in self.points:
            if point.name == name:
                return point
        raise KeyError(name)
