"""The record of a sweep: `sweep.json`."""

from typing import Any

from pydantic import Field

from keras_distill._internal import InputError
from keras_distill.records._base import Measured, Record
from keras_distill.records._recipe import Recipe
from keras_distill.records._run import IntervalRecord, SeedResult

_MAX_POINTS = 20_000


class SweepTeacher(Record):
    """One teacher of a sweep, shared by all points with the same settings for the teacher.

    Attributes:
        name: Name of its folder in `teachers/`.
        model: Spec or file, as in the recipe.
        source: The data spec of the student.
        train: Number of training examples.
        validation: Number of validation examples.
        test: Number of test examples.
        parameters: Number of parameters; None if unknown.
        validation_accuracy: Accuracy on the validation split, 0..1; None if it was not measured.
        test_accuracy: Accuracy on the test split, 0..1; None if it was not measured.
        fingerprint: SHA-256 of what determines its soft targets; None if unknown.
        store_bytes: Bytes of its stores of soft targets.
        seconds: Wall time of its training; if it was resumed, of the last attempt.
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
    """The comparison of a point with its reference on the test split, paired by seed.

    Attributes:
        reference: The name of the reference point.
        difference: Accuracy of the point minus that of the reference, the mean over the seeds with
            its 95 % t interval.
        p: Two-sided p-value of the paired t test; None with fewer than two common seeds.
        p_adjusted: The p-value after Holm's correction for all comparisons of the sweep (Holm
            1979).
    """

    reference: str
    difference: IntervalRecord
    p: Measured
    p_adjusted: Measured


class SweepPoint(Record):
    """One point of a sweep, over all seeds.

    Attributes:
        name: The name of the point, which depends only on its settings.
        variant: `distilled`, or the variant of a reference without a teacher.
        values: The values of the keys that vary over the sweep.
        teacher: The name of its teacher; None if it has none, or the recipe names a store.
        labels: Number of labels that the student sees.
        parameters: Number of parameters of the student.
        steps: Number of training steps.
        seeds: The results of the completed trainings.
        failures: The reasons why other trainings failed, by seed.
        validation_accuracy: Mean over the seeds with its 95 % t interval; None if no training was
            completed.
        test_accuracy: The same for the test split.
        comparison: The comparison with the reference; None without a reference, or without common
            seeds.
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
        """Whether the point is a student trained without a teacher, only for comparison."""
        return self.variant != "distilled"


class SweepRecord(Record):
    """Everything that a sweep measured; its page shows only these results.

    Attributes:
        recipe: The recipe on which the points are based.
        scale: `full`, or `smoke` (two steps of everything, so that the numbers mean nothing).
        versions: Package versions, and `onednn` on or off.
        machine: Processor and core count.
        started: Time at which the first command started, ISO 8601, UTC.
        seconds: Wall time of all commands that completed the sweep or added to it.
        keys: The keys that vary.
        teachers: The teachers.
        points: The points in the order in which they were requested, then the references.
        best: The distilled point with the best mean validation accuracy; None if all failed.
        best_seed: The seed of that point with the best validation accuracy, whose student is in
            `student.keras`.
        flat: The points within one standard error of the best, on validation data.
        standard_error: The standard error of the best point's validation accuracy.
        test_reads: Number of completed commands. Each evaluates the new students on the test split.
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
        """Checks that the values are consistent with each other; see `Record.check`."""
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
        """Returns the point with the given name.

        Raises:
            KeyError: If there is no such point.
        """
        for point in self.points:
            if point.name == name:
                return point
        raise KeyError(name)
