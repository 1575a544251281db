"""Finds the student for a budget: a short distillation ranks the candidates.

The method is successive halving (Jamieson, Talwalkar 2016, arXiv:1502.07943). Every candidate is
distilled for a few epochs, then the better half for twice as many, and so on. If the epochs do not
suffice for several rounds, there is one round.
"""

import math
import shutil
import time
from typing import NamedTuple

import keras

from keras_distill import models
from keras_distill._internal import _files
from keras_distill._internal._quantity import number_of
from keras_distill.records import (
    AUTO,
    BudgetPart,
    Candidate,
    CandidateRound,
    SearchRecord,
    ShrinkRecord,
)
from keras_distill.runs._candidates import (
    CandidateFiles,
    count_candidates,
    make_candidates,
    precision_of,
)
from keras_distill.runs._context import RunContext
from keras_distill.runs._shrink import CHOSEN, untrained_teacher
from keras_distill.runs._students import soft_lesson
from keras_distill.runs._targets import SoftTargets
from keras_distill.runs._variants import Pupil, train

_SHARE = 0.1  # fraction of the epochs of training all candidates in full
_RECORD = "search.json"


class Round(NamedTuple):
    """One round of the ranking: the number of candidates, and the epochs of each."""

    candidates: int
    epochs: int


class Found(NamedTuple):
    """The result of a search.

    Attributes:
        search: The record of the search.
        shrink: The parts of the teacher that were removed; None if the student is not a narrower
            teacher.
    """

    search: SearchRecord
    shrink: ShrinkRecord | None


def find_student(
    context: RunContext, teacher: keras.Model | None, targets: SoftTargets
) -> Found | None:
    """Ranks the candidates and saves the best one as the run's student.

    Args:
        context: The run.
        teacher: The teacher, if it is a Keras model; otherwise None.
        targets: The soft targets on which the candidates are distilled.

    Returns:
        The result; None if the recipe names its student.

    Raises:
        InputError: If no candidate is within the budget.
    """
    budget = context.recipe.budget
    if budget is None or context.recipe.student.model != AUTO:
        return None
    path = context.folder.scratch / _RECORD
    start = time.monotonic()
    files, candidates = make_candidates(context, budget, teacher)
    if not path.exists():
        search = _rank(context, budget, files, candidates, targets)
        search = search.model_copy(update={"seconds": round(time.monotonic() - start, 1)})
        with _files.atomic_path(context.folder.scratch / CHOSEN, overwrite=True) as temporary:
            shutil.copyfile(files.model(search.chosen.name), temporary)
        search.save(path)
    search = SearchRecord.load(path)
    shrink = files.shrunk(search.chosen.name)
    return Found(search, ShrinkRecord.load(shrink) if shrink.exists() else None)


def rounds_for(candidates: int, full: int, first: int | None = None) -> list[Round]:
    """Plans the rounds. Each round removes half of the candidates; the others train twice as long.

    A round with as many epochs as the previous one would repeat its trainings, so it is omitted.

    Args:
        candidates: Number of candidates.
        full: Number of epochs of a full training.
        first: Number of epochs of the first round. If None, it is chosen so that all rounds take at
            most a tenth of the epochs of training all candidates in full, but at least 1. If that
            is too little for several rounds, there is a single round.

    Example:
        >>> [tuple(one) for one in rounds_for(8, 100)]
        [(8, 3), (4, 6), (2, 12)]
        >>> [tuple(one) for one in rounds_for(8, 20)], rounds_for(1, 20)
        ([(8, 2)], [])
    """
    counts: list[int] = []
    while candidates > 1:
        counts.append(candidates)
        candidates = math.ceil(candidates / 2)
    if first is None:
        allowed = _SHARE * sum(counts[:1]) * full
        if allowed < _total(counts):
            counts = counts[:1]
        first = max(1, int(allowed / max(1, _total(counts))))
    epochs = [min(full, first * 2**place) for place in range(len(counts))]
    return [
        Round(count, own)
        for count, own, before in zip(counts, epochs, [0, *epochs], strict=False)
        if own > before
    ]


def _total(counts: list[int]) -> int:
    """Returns the epochs of all rounds if the first has one epoch and each next twice as many."""
    return sum(count * 2**place for place, count in enumerate(counts))


def planned_rounds(context: RunContext) -> list[Round]:
    """Plans the rounds before candidates exist, as if all of them were within the budget.

    Args:
        context: The run, whose recipe has a `budget`.
    """
    budget = context.recipe.budget
    assert budget is not None  # checked by the caller
    count = count_candidates(budget, untrained_teacher(context))
    return rounds_for(count, context.recipe.training.epochs, budget.epochs)


def _rank(
    context: RunContext,
    budget: BudgetPart,
    files: CandidateFiles,
    candidates: list[Candidate],
    targets: SoftTargets,
) -> SearchRecord:
    left = [one for one in candidates if one.outcome == "ranked"]
    full = context.recipe.training.epochs
    rounds = rounds_for(len(left), full, budget.epochs)
    total = sum(one.candidates * one.epochs for one in rounds)
    context.reporter.stage(
        "search",
        f"{number_of(len(left), 'candidate')}, {number_of(total, 'epoch')} in"
        f" {number_of(len(rounds), 'round')}",
    )
    done = {one.name: one for one in candidates}
    for number, one_round in enumerate(rounds, start=1):
        for one in left:
            accuracy = _distill(context, files, one, targets, number, one_round.epochs)
            entry = CandidateRound(epochs=one_round.epochs, validation_accuracy=accuracy)
            earlier = done[one.name].rounds
            done[one.name] = one.model_copy(update={"rounds": (*earlier, entry)})
        left = sorted((done[one.name] for one in left), key=_merit)[: math.ceil(len(left) / 2)]
    best = left[0].name
    done[best] = done[best].model_copy(update={"outcome": "chosen"})
    ranked = sum(one.outcome != "over the budget" for one in candidates)
    return SearchRecord(
        precision=precision_of(context),
        candidates=tuple(done[one.name] for one in candidates),
        epochs=total,
        epochs_in_full=ranked * full,
        seconds=0,
    )


def _merit(one: Candidate) -> tuple[float, int]:
    """Returns the sort key: accuracy in the last round, then size (smaller is better)."""
    return -one.rounds[-1].validation_accuracy, one.bytes


def _distill(
    context: RunContext,
    files: CandidateFiles,
    one: Candidate,
    targets: SoftTargets,
    number: int,
    epochs: int,
) -> float:
    """Distills a candidate for some epochs, or resumes the training of an earlier session.

    Returns:
        The accuracy on the validation split, 0..1.
    """
    settings = context.recipe.training.model_copy(update={"epochs": epochs, "patience": None})
    lesson = soft_lesson(context, f"round{number}-{one.name}", f"round {number}", targets)
    seed = context.recipe.seeds[0]

    def build(_: int) -> keras.Model:
        return models.load(files.model(one.name), imports=context.imports)

    variant = train(context, lesson, Pupil.of(build, one.title, settings, [seed]))
    return variant.done[seed].kept("val_accuracy")
