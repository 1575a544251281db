"""Applies the budget of a run to its settings and to files."""

import math
from collections.abc import Sequence
from pathlib import Path

import keras

from keras_distill import data, metrics, models
from keras_distill._internal import InputError
from keras_distill.benchmarks import measure_latency
from keras_distill.records import BudgetPart, BudgetResult, RunRecord
from keras_distill.runs._arena import arena_failure, arena_of, check_runtime, zero_row
from keras_distill.runs._candidates import CandidateFiles, check_reachable
from keras_distill.runs._compress import COMPRESSED
from keras_distill.runs._context import RunContext
from keras_distill.runs._evaluate import logits_of
from keras_distill.runs._shrink import untrained_teacher
from keras_distill.teachers import Teacher, as_teacher


def check_budget(context: RunContext) -> None:
    """Checks that the settings of a recipe with a budget can be used in a search.

    Raises:
        InputError: If the training has a time budget, the teacher is a store and the budget has a
            limit that needs a running teacher, a candidate is not valid, or no candidate can be
            within the budget.
        MissingExtraError: If the budget has `max_arena` and tflite-micro is not installed.
    """
    recipe, budget = context.recipe, context.recipe.budget
    if budget is None:
        return
    if recipe.training.seconds:
        raise InputError(
            "`training.budget`, a time, must be left out with `budget`: give `training.epochs`."
        )
    default = BudgetPart.model_fields["max_drop"].default
    if context.store is not None and budget.max_drop not in (None, default):
        raise InputError(
            "`budget.max_drop` needs a teacher that runs: a store does not show its accuracy. Leave"
            f" it out, or give the teacher. Received: {budget.max_drop:g}"
        )
    if context.store is not None and budget.max_latency_ratio is not None:
        raise InputError(
            "`budget.max_latency_ratio` needs a teacher that runs: a store has no latency. Leave it"
            " out, or give the teacher."
        )
    if budget.max_arena is not None:
        check_runtime()
    for spec in budget.candidates:
        models.parse(spec, name="candidates")
        context.build(spec)
    check_reachable(context, budget, untrained_teacher(context))


class FileBudget:
    """Compares files with the budget of a run.

    Args:
        context: The run; its recipe has a `budget`.
        budget: The budget part of the recipe.
        teacher: The teacher; None if the recipe names a store.
    """

    def __init__(self, context: RunContext, budget: BudgetPart, teacher: Teacher | None) -> None:
        self._context, self._budget, self._teacher = context, budget, teacher
        self._accuracy = None if teacher is None else self._accuracy_of(teacher)

    def of_student(self, student: keras.Model) -> "FileBudget":
        """Returns the budget for a student's files, without `max_drop` if the student exceeds it.

        Args:
            student: The student.
        """
        budget = self._budget
        if self._accuracy is None or budget.max_drop is None:
            return self
        if 100 * (self._accuracy - self._accuracy_of(as_teacher(student))) <= budget.max_drop:
            return self
        any_drop = budget.model_copy(update={"max_drop": None})
        return FileBudget(self._context, any_drop, self._teacher)

    def failures(self, file: Path) -> Sequence[str]:
        """Returns the limits that a file exceeds, before the benchmark has measured the file.

        Args:
            file: The file.
        """
        ratio = None if self._budget.max_latency_ratio is None else self._latency_ratio(file)
        return self.result(file, file.name, ratio).failures

    def result(self, file: Path, name: str, latency_ratio: float | None) -> BudgetResult:
        """Compares a file with the budget.

        Args:
            file: The file.
            name: The name of the file in the result.
            latency_ratio: Latency relative to the teacher; None if it was not measured.
        """
        budget, size = self._budget, file.stat().st_size
        drop, arena, failures = None, None, []
        if size > budget.max_bytes:
            failures.append(f"{size:,} bytes, more than {budget.max_bytes:,}")
        if self._accuracy is not None:
            drop = 100 * (self._accuracy - self._accuracy_of(as_teacher(file)))
            if budget.max_drop is not None and drop > budget.max_drop:
                failures.append(
                    f"{drop:.1f} points less accurate than the teacher on validation data"
                    f", more than the {budget.max_drop:g} allowed"
                )
        most = budget.max_latency_ratio
        if most is not None and latency_ratio is not None and latency_ratio > most:
            failures.append(f"{latency_ratio:.2f} times the teacher's latency, more than {most:g}")
        if budget.max_arena is not None:
            measured = arena_of(file)
            arena, failure = measured.bytes, arena_failure(measured, budget.max_arena)
            failures += [] if failure is None else [failure]
        return BudgetResult(
            file=name,
            bytes=size,
            drop=drop,
            latency_ratio=latency_ratio,
            arena_bytes=arena,
            failures=tuple(failures),
        )

    def best(self, record: RunRecord) -> BudgetResult:
        """Compares the files of a finished run with the budget, and returns the best result.

        The best file is the most accurate one within the budget. If no file is within the budget,
        it is the file that exceeds the fewest limits, and of these the smallest.

        Args:
            record: The record of the run, with the benchmark.
        """
        results = [self._of_benchmark(record, file) for file in _exported(record)]
        if not results:
            return BudgetResult(
                file="", bytes=0, drop=None, failures=("no file passed its verification",)
            )
        kept = [one for one in results if not one.failures]
        if kept:
            return min(
                kept, key=lambda one: (math.inf if one.drop is None else one.drop, one.bytes)
            )
        return min(results, key=lambda one: (len(one.failures), one.bytes))

    def _of_benchmark(self, record: RunRecord, file: str) -> BudgetResult:
        entry = next(one for one in record.benchmark.entries if one.file == file)
        ratio = entry.latency[0].ratio
        return self.result(
            self._context.folder.path / file, file, None if ratio is None else ratio.value
        )

    def _accuracy_of(self, teacher: Teacher) -> float:
        labels = data.labels_of(self._context.splits.validation)
        return metrics.accuracy(logits_of(teacher.predict, self._context.validation), labels)

    def _latency_ratio(self, file: Path) -> float | None:
        """Measures the latency relative to the teacher; None if the teacher has no file."""
        reference = CandidateFiles.of(self._context).file("teacher", "float32")
        if not reference.exists():
            return None
        timings = measure_latency(
            {"teacher": reference, "file": file},
            zero_row(file),
            runs=self._context.recipe.benchmark.runs,
            batch_size=1,
        )
        ratio = timings["file"].records[0].ratio
        return None if ratio is None else ratio.value


def file_budget(context: RunContext, teacher: Teacher | None) -> FileBudget | None:
    """Returns the budget of a run; None if the recipe has none.

    Args:
        context: The run.
        teacher: The teacher; None if the recipe names a store.
    """
    budget = context.recipe.budget
    return None if budget is None else FileBudget(context, budget, teacher)


def _exported(record: RunRecord) -> list[str]:
    found = [export.file for export in record.exports.exports.values()]
    if record.compress is not None and record.compress.file is not None:
        found.append(f"{COMPRESSED}/{record.compress.file}")
    return found
