"""Evaluates specialists: Tables 3 and 4 of Hinton 2015, and accuracy per class.

All functions take arrays of outputs, so that each model runs on a split only once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.special import softmax

from keras_distill._internal._stats import mean_interval
from keras_distill.metrics import accuracy, calibration_temperature
from keras_distill.records import ClassRow, CoverageRow, IntervalRecord, SystemResult
from keras_distill.specialists._class_sets import ClassSets
from keras_distill.specialists._ensemble import SpecialistEnsemble
from keras_distill.specialists._inference import active_by_top, arithmetic_mean, combine
from keras_distill.specialists._training import logits_on


@dataclass(frozen=True)
class EnsembleOutputs:
    """The logits of all parts of an ensemble on a split.

    Attributes:
        generalist: float `(n, N)` logits.
        specialists: M arrays `(n, |S_m|+1)` of logits with corrected dustbins.
        class_sets: The class sets.
        top: Which specialists are active; see `SpecialistEnsemble`.
        corrections: The corrections for oversampling that the dustbins' logits contain.
    """

    generalist: np.ndarray
    specialists: tuple[np.ndarray, ...]
    class_sets: ClassSets
    top: int | None
    corrections: tuple[float, ...] = ()

    @classmethod
    def of(cls, ensemble: SpecialistEnsemble, examples: tf.data.Dataset) -> "EnsembleOutputs":
        """Runs every part on the unbatched examples `(x, y)`."""
        return cls(
            logits_on(ensemble.generalist, examples),
            tuple(logits_on(part, examples) for part in ensemble.specialists),
            ensemble.class_sets,
            ensemble.top,
            tuple(value or 0.0 for value in ensemble.corrections),
        )

    @classmethod
    def merged(cls, seeds: Sequence["EnsembleOutputs"]) -> "EnsembleOutputs":
        """Combines the specialists of all seeds with the one generalist that they share."""
        first = seeds[0]
        return cls(
            first.generalist,
            tuple(part for outputs in seeds for part in outputs.specialists),
            ClassSets(first.class_sets.sets * len(seeds), first.class_sets.num_classes),
            first.top,
            tuple(value for outputs in seeds for value in outputs.corrections),
        )

    def calibrated(self, held_out: "EnsembleOutputs", labels: np.ndarray) -> "EnsembleOutputs":
        """Divides the logits of each part by its calibration temperature; see `metrics`.

        Args:
            held_out: Outputs of the same parts on examples that they were not trained on.
            labels: int `(n,)`, the labels of these examples.
        """
        sets = self.class_sets
        parts = []
        for logits, seen, ids in zip(
            self.specialists, held_out.specialists, sets.sets, strict=True
        ):
            bins = np.full(sets.num_classes, len(ids))
            bins[ids] = np.arange(len(ids))
            parts.append(logits / calibration_temperature(seen, bins[labels]))
        generalist = self.generalist / calibration_temperature(held_out.generalist, labels)
        return replace(self, generalist=generalist, specialists=tuple(parts))

    def combined(self, *, mean: bool = False, corrected: bool = True) -> np.ndarray:
        """Returns the combined probabilities `(n, N)` of generalist and specialists.

        Args:
            mean: Whether to use the arithmetic mean instead of `combine`, for comparison.
            corrected: Whether the dustbins keep their correction for oversampling.
        """
        generalist = probabilities(self.generalist)
        active = np.ones((len(generalist), len(self.specialists)), bool)
        if self.top is not None:
            active = active_by_top(generalist, self.class_sets.sets, self.top)
        parts = []
        for number, logits in enumerate(self.specialists):
            logits = np.array(logits, np.float64)
            if not corrected:
                logits[:, -1] -= self.corrections[number]
            parts.append(probabilities(logits))
        function = arithmetic_mean if mean else combine
        return function(generalist, parts, self.class_sets.sets, active)


def probabilities(logits: Any) -> np.ndarray:
    """Returns the softmax along the last axis, float64."""
    return softmax(np.asarray(logits, np.float64), axis=-1)


def conditional_accuracy(
    scores: np.ndarray, labels: np.ndarray, class_sets: ClassSets
) -> float | None:
    """Returns the accuracy on covered classes if the prediction is one of the covered classes.

    Args:
        scores: `(n, N)` probabilities or logits.
        labels: int `(n,)`.
        class_sets: The class sets; their union is the set of covered classes.

    Returns:
        The accuracy, in 0..1; None if no example has a covered class.

    Example:
        >>> scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
        >>> conditional_accuracy(scores, np.array([1, 0]), ClassSets(([1, 2],), 3))
        1.0
    """
    covered = np.flatnonzero(class_sets.coverage)
    rows = np.isin(labels, covered)
    predicted = covered[scores[rows][:, covered].argmax(axis=1)]
    return float((predicted == labels[rows]).mean()) if rows.any() else None


def within_accuracy(scores: np.ndarray, labels: np.ndarray, class_sets: ClassSets) -> float | None:
    """Returns the accuracy within the sets if the prediction is one of the classes of the set.

    This is the mean over all pairs of an example and a set that covers its class.

    Args:
        scores: `(n, N)` probabilities or logits.
        labels: int `(n,)`.
        class_sets: The class sets.

    Returns:
        The accuracy, in 0..1; None if no example has a covered class.

    Example:
        >>> scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
        >>> within_accuracy(scores, np.array([1, 0]), ClassSets(([1, 2], [0, 1]), 3))
        0.3333333333333333
    """
    right = []
    for ids in class_sets.sets:
        rows = np.isin(labels, ids)
        right.append(ids[scores[rows][:, ids].argmax(axis=1)] == labels[rows])
    pairs = np.concatenate(right)
    return float(pairs.mean()) if pairs.size else None


def evaluate_system(
    name: str,
    title: str,
    scores: Sequence[np.ndarray],
    labels: np.ndarray,
    class_sets: ClassSets,
    generalist: np.ndarray,
) -> SystemResult:
    """Returns a row of Table 3.

    Args:
        name: Short name.
        title: Name in tables.
        scores: Scores `(n, N)` of each seed.
        labels: int `(n,)`.
        class_sets: The class sets.
        generalist: Scores `(n, N)` of the generalist, the baseline.
    """
    before, after = _correct(generalist, scores, labels)
    tops = [accuracy(s, labels) for s in scores]
    baseline = float(before.mean())
    relative = mean_interval([(top - baseline) / baseline for top in tops]) if baseline else None
    return SystemResult(
        name=name,
        title=title,
        accuracy=tuple(tops),
        conditional=tuple(conditional_accuracy(s, labels, class_sets) for s in scores),
        within=tuple(within_accuracy(s, labels, class_sets) for s in scores),
        relative=None if relative is None else IntervalRecord.of(relative),
        gain=IntervalRecord.of(mean_interval(after - before)),
    )


def _correct(
    generalist: np.ndarray, seeds: Sequence[np.ndarray], labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each example whether the generalist is right, and the share of correct seeds."""
    after = np.mean([scores.argmax(axis=1) == labels for scores in seeds], axis=0)
    return generalist.argmax(axis=1) == labels, after


def coverage_rows(
    generalist: np.ndarray, ensembles: Sequence[np.ndarray], labels: np.ndarray, sets: ClassSets
) -> tuple[CoverageRow, ...]:
    """Returns Table 4: the change in top-1 by the number of specialists that cover the class.

    Args:
        generalist: `(n, N)` scores.
        ensembles: `(n, N)` scores per seed.
        labels: int `(n,)`.
        sets: The class sets.
    """
    before, after = _correct(generalist, ensembles, labels)
    covering = sets.coverage[labels]
    rows = []
    for count in np.unique(covering):
        chosen = covering == count
        base, new = float(before[chosen].mean()), float(after[chosen].mean())
        rows.append(
            CoverageRow(
                specialists=int(count),
                examples=int(chosen.sum()),
                generalist=base,
                ensemble=new,
                change=(new - base) / base if base else None,
            )
        )
    return tuple(rows)


def class_rows(
    generalist: np.ndarray,
    ensembles: Sequence[np.ndarray],
    labels: np.ndarray,
    sets: ClassSets,
    class_names: Sequence[str],
) -> tuple[ClassRow, ...]:
    """Returns the table of changes per class, for the classes that have examples.

    The arguments are those of `coverage_rows`, plus the class names by class id.
    """
    before, after = _correct(generalist, ensembles, labels)
    return tuple(
        ClassRow(
            class_id=int(number),
            name=class_names[int(number)],
            sets=tuple(m for m, ids in enumerate(sets.sets) if number in ids),
            generalist=float(before[labels == number].mean()),
            ensemble=float(after[labels == number].mean()),
        )
        for number in np.unique(labels)
    )
