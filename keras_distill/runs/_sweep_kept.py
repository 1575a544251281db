"""Keeps the data and trainers that jobs of a sweep in one process share."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_distill._internal._progress import Reporter
from keras_distill.records import DistillationPart, Recipe, SchedulePart
from keras_distill.runs._context import RunContext
from keras_distill.runs._loaded_data import LoadedData, load_data
from keras_distill.runs._losses import distillation_losses
from keras_distill.runs._variants import Lesson, Pupil, Variant, compiled, values_of
from keras_distill.targets import SoftTargetStore
from keras_distill.training import Adjustable, StackedStudents, can_be_stacked
from keras_distill.work import Rounds

# The most parameters of a stacked student. For larger students, the overhead of a step is small.
_MOST_PARAMETERS = 120_000
_TRAINERS = 3  # the number of trainer identifiers whose compiled trainers are kept


class _Compiled(NamedTuple):
    """A compiled trainer, and the adjustable numbers that it reads in every step."""

    variant: Variant
    knobs: Mapping[str, Adjustable]


@dataclass
class _Trainers:
    """Compiled trainers of students that differ only in seed, alpha, and temperature.

    Attributes:
        compiled: Trainers by the name of the variant.
        stacked: Trainers of stacked students, by the number of students.
        can_be_stacked: Whether the students can be stacked; None if not determined yet.
        initial: Initial values of the variables, by seed.
    """

    compiled: dict[str, _Compiled] = field(default_factory=dict)
    stacked: dict[int, tuple[Variant, StackedStudents]] = field(default_factory=dict)
    can_be_stacked: bool | None = None
    initial: dict[int, list[np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepPupil(Pupil):
    """A student of a sweep that shares compiled trainers with other students.

    Attributes:
        trainers: The shared trainers.
    """

    trainers: _Trainers = field(default_factory=_Trainers)

    def variant(self, context: RunContext, lesson: Lesson, rounds: Rounds) -> Variant:
        """Returns the compiled trainer of a lesson, set to the recipe's alpha and temperature."""
        numbers, kept = numbers_of(context.recipe.distillation), self.trainers.compiled
        if lesson.name not in kept:
            kept[lesson.name] = self._compiled(context, lesson, rounds)
        variant, knobs = kept[lesson.name]
        for name, value in numbers.items():
            knobs[name].set(value)
        return variant.again(lesson, self.states(context, lesson))

    def can_be_stacked(self, context: RunContext) -> bool:
        """Returns whether copies of this student can be stacked: it is small, with dense layers."""
        found = self.trainers.can_be_stacked
        if found is None:
            student = context.build_student(next(iter(self.initial)))
            found = student.count_params() <= _MOST_PARAMETERS and can_be_stacked(student)
            self.trainers.can_be_stacked = found
        return found

    def stack(
        self, context: RunContext, lesson: Lesson, rounds: Rounds, copies: int
    ) -> tuple[Variant, StackedStudents]:
        """Returns the trainer of this student, and a stack of copies around it."""
        kept = self.trainers.stacked
        if copies not in kept:
            variant, knobs = self._compiled(context, lesson, rounds)
            kept[copies] = variant, StackedStudents(variant.trainer, knobs, copies)
        return kept[copies]

    def _compiled(self, context: RunContext, lesson: Lesson, rounds: Rounds) -> _Compiled:
        part, steps = context.recipe.distillation, None
        if rounds.epochs is not None:
            steps = rounds.epochs * rounds.steps
        knobs = {name: Adjustable(value) for name, value in numbers_of(part).items()}
        losses = distillation_losses(part, steps, **knobs)
        return _Compiled(compiled(context, lesson, self, rounds, losses), knobs)


def numbers_of(part: DistillationPart) -> dict[str, float]:
    """Returns alpha and temperature by name, without those that are schedules."""
    given = {"alpha": part.alpha, "temperature": part.temperature}
    return {name: v for name, v in given.items() if not isinstance(v, SchedulePart)}


class Kept:
    """Keeps the last data set, the last store, and the trainers of the last few kinds of students.

    Attributes:
        reporter: Shows the progress of jobs that run in the process of the sweep.
    """

    def __init__(self) -> None:
        self.reporter = Reporter()
        self._data: tuple[str, LoadedData] | None = None
        self._store: SoftTargetStore | None = None
        self._trainers: OrderedDict[str, _Trainers] = OrderedDict()

    def data(self, recipe: Recipe, scale: str, imports: tuple[str, ...]) -> LoadedData:
        """Returns the data of a recipe; loads it if the last recipe had other data."""
        part = recipe.data
        size = recipe.training.batch_size if scale == "smoke" else None
        sources = [part.source, part.unlabeled, recipe.teacher.source]
        key = json.dumps([sources, part.data_dir, size, scale, imports])
        if self._data is None or self._data[0] != key:
            self.clear()
            self._data = key, load_data(recipe, scale, imports)
        return self._data[1]

    def store(self, path: Path) -> SoftTargetStore:
        """Opens a store. The last store stays open, so that it is checked only once."""
        if self._store is None or self._store.path != path:
            self._store = SoftTargetStore.open(path)
        return self._store

    def pupil(self, trainer: str, context: RunContext, seed: int) -> SweepPupil:
        """Returns the student of a recipe and a seed.

        Args:
            trainer: Identifies the trainer; see `Point.trainer`.
            context: The student's recipe, with its data.
            seed: Seed of the initial values.
        """
        found = self._trainers.pop(trainer, None) or _Trainers()
        self._trainers[trainer] = found
        if len(self._trainers) > _TRAINERS:
            self._trainers.popitem(last=False)
        if seed not in found.initial:
            found.initial[seed] = values_of(context.build_student(seed))
        recipe = context.recipe
        return SweepPupil(
            context.build_student,
            recipe.student.model,
            recipe.training,
            {seed: found.initial[seed]},
            found,
        )

    def clear(self) -> None:
        """Releases the data, the store, and the trainers; the data on disk may change."""
        self._data = self._store = None
        self._trainers.clear()


KEPT = Kept()
"""That of this process."""
