"""What specialists are worth: Tables 3 and 4 of the paper, and class by class.

Everything works on arrays of answers, so that a model runs once on the test split, however many
questions are asked of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal._stats import mean_interval
from keras_distill.metrics import calibration_temperature
from keras_distill.records._run import IntervalRecord
from keras_distill.records._specialists import ClassRow, CoverageRow, SystemResult
from keras_distill.specialists._clustering import ClassSets
from keras_distill.specialists._ensemble import SpecialistEnsemble
from keras_distill.specialists._inference import active_by_top, arithmetic_mean, combine
from keras_distill.specialists._training import logits_on


@dataclass(frozen=True)
class Answers:
    """What the parts of an ensemble say of a split.

    Attributes:
        generalist: float `(n, N)` logits.
        specialists: M arrays `(n, |S_m|+1)` of logits, dustbins corrected.
        class_sets: The sets.
        top: Who has a say; see `SpecialistEnsemble`.
        corrections: What the dustbins' logits contain of the correction.
    """

    generalist: np.ndarray
    specialists: tuple[np.ndarray, ...]
    class_sets: ClassSets
    top: int | None
    corrections: tuple[float, ...] = ()

    @classmethod
    def of(cls, ensemble: SpecialistEnsemble, examples: tf.data.Dataset) -> "Answers":
        """Runs every part on unbatched `(x, y)`."""
        return cls(
            logits_on(ensemble.generalist, examples),
            tuple(logits_on(part, examples) for part in ensemble.specialists),
            ensemble.class_sets,
            ensemble.top,
            tuple(value or 0.0 for value in ensemble.corrections),
        )

    @classmethod
    def merged(cls, seeds: Sequence["Answers"]) -> "Answers":
        """The specialists of all seeds beside one generalist."""
        first = seeds[0]
        return cls(
            first.generalist,
            tuple(part for answers in seeds for part in answers.specialists),
            ClassSets(first.class_sets.sets * len(seeds), first.class_sets.num_classes),
            first.top,
            tuple(value for answers in seeds for value in answers.corrections),
        )

    def calibrated(self, held_out: "Answers", labels: np.ndarray) -> "Answers":
        """Every part's logits over its calibration temperature; see `metrics`.

        Args:
            held_out: What the same parts say of examples that they were not trained on.
            labels: int `(n,)` of these examples.
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
        """Probabilities `(n, N)` of generalist and specialists together.

        Args:
            mean: The arithmetic mean in place of `combine`, for comparison.
            corrected: False takes the correction for oversampling off the dustbins.
        """
        generalist = softmax(self.generalist)
        active = np.ones((len(generalist), len(self.specialists)), bool)
        if self.top is not None:
            active = active_by_top(generalist, self.class_sets.sets, self.top)
        parts = []
        for number, logits in enumerate(self.specialists):
            logits = np.array(logits, np.float64)
            if not corrected:
                logits[:, -1] -= self.corrections[number]
            parts.append(softmax(logits))
        function = arithmetic_mean if mean else combine
        return function(generalist, parts, self.class_sets.sets, active)


def softmax(logits: Any) -> np.ndarray:
    """softmax along the last axis, float64."""
    logits = np.asarray(logits, np.float64)
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of examples whose class has the largest score."""
    return float((scores.argmax(axis=1) == labels).mean())


def conditional_accuracy(
    scores: np.ndarray, labels: np.ndarray, class_sets: ClassSets
) -> float | None:
    """Accuracy on the examples of covered classes, the answer chosen among these classes.

    Args:
        scores: `(n, N)` probabilities or logits.
        labels: int `(n,)`.
        class_sets: The sets; their union is what is covered.

    Returns:
        In 0..1; None where no example is of a covered class.

    Example:
        >>> scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
        >>> conditional_accuracy(scores, np.array([1, 0]), ClassSets(([1, 2],), 3))
        1.0
    """
    covered = np.flatnonzero(class_sets.coverage)
    rows = np.isin(labels, covered)
    answers = covered[scores[rows][:, covered].argmax(axis=1)]
    return float((answers == labels[rows]).mean()) if rows.any() else None


def within_accuracy(scores: np.ndarray, labels: np.ndarray, class_sets: ClassSets) -> float | None:
    """Accuracy inside the sets: of each set's examples, the answer chosen within the set.

    The mean over all pairs of an example and a set that holds its class.

    Args:
        scores: `(n, N)` probabilities or logits.
        labels: int `(n,)`.
        class_sets: The sets.

    Returns:
        In 0..1; None where no example is of a covered class.

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


def judge(
    name: str,
    title: str,
    scores: Sequence[np.ndarray],
    labels: np.ndarray,
    class_sets: ClassSets,
    generalist: np.ndarray,
) -> SystemResult:
    """A row of Table 3.

    Args:
        name: Short name.
        title: For people.
        scores: `(n, N)` per seed.
        labels: int `(n,)`.
        class_sets: The sets.
        generalist: `(n, N)`: the generalist's scores, to which all are compared.
    """
    before = generalist.argmax(axis=1) == labels
    after = np.mean([s.argmax(axis=1) == labels for s in scores], axis=0)
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


def coverage_rows(
    generalist: np.ndarray, ensembles: Sequence[np.ndarray], labels: np.ndarray, sets: ClassSets
) -> tuple[CoverageRow, ...]:
    """Table 4: the change in top-1 by how many specialists cover the true class.

    Args:
        generalist: `(n, N)` scores.
        ensembles: `(n, N)` scores per seed.
        labels: int `(n,)`.
        sets: The sets.
    """
    before = generalist.argmax(axis=1) == labels
    after = np.mean([scores.argmax(axis=1) == labels for scores in ensembles], axis=0)
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
    """What changed, class by class, for the classes that the split has examples of.

    Arguments are those of `coverage_rows`, and the names by class id.
    """
    before = generalist.argmax(axis=1) == labels
    after = np.mean([scores.argmax(axis=1) == labels for scores in ensembles], axis=0)
    return tuple(
        ClassRow(
            class_id=int(number),
            name=class_names[number],
            sets=tuple(m for m, ids in enumerate(sets.sets) if number in ids),
            generalist=float(before[labels == number].mean()),
            ensemble=float(after[labels == number].mean()),
        )
        for number in np.unique(labels)
    )
