"""The comparison of several runs."""

from typing import Any

from pydantic import Field

from keras_distill._internal import InputError
from keras_distill.records._base import Measured, Record
from keras_distill.records._run import IntervalRecord

_MAX_RUNS = 100


class ComparedSetting(Record):
    """A setting that differs between runs.

    Attributes:
        key: The dotted key of the setting.
        values: The value in each run; None if a run does not set it.
    """

    key: str
    values: tuple[Any, ...]


class ComparedResult(Record):
    """A result in each run, and its difference from the first run.

    Attributes:
        name: The variant of the student, or `teacher`.
        accuracies: Test accuracy of each run, the mean over the seeds with its 95 % t interval;
            None if the run has no such result.
        differences: Accuracy of each run minus that of the first run, paired over the seeds that
            both have; None for the first run, and if there are no pairs.
        p: Two-sided p-values of the paired t tests; None as for `differences`, and for one pair.
        p_adjusted: The p-values after Holm's correction for all tests of the comparison.
    """

    name: str
    accuracies: tuple[IntervalRecord | None, ...]
    differences: tuple[IntervalRecord | None, ...]
    p: tuple[Measured, ...]
    p_adjusted: tuple[Measured, ...]


class CompareRecord(Record):
    """The settings that differ between runs, and the paired differences in results.

    Attributes:
        runs: Names of the runs, from their folders.
        started: The time at which each run started, ISO 8601.
        settings: The settings that differ.
        results: The results.
        notes: Reasons why results are not directly comparable, one sentence each.
    """

    runs: tuple[str, ...] = Field(min_length=2, max_length=_MAX_RUNS)
    started: tuple[str, ...]
    settings: tuple[ComparedSetting, ...]
    results: tuple[ComparedResult, ...]
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        """Checks that the values are consistent with each other; see `Record.check`."""
        columns = [self.started, *(setting.values for setting in self.settings)]
        for result in self.results:
            columns += [result.accuracies, result.differences, result.p, result.p_adjusted]
        if len(set(self.runs)) < len(self.runs) or any(len(c) != len(self.runs) for c in columns):
            raise InputError("`runs` must have different names, and every row a value for each.")
