"""Picks examples in proportion to their classes, for splits that a source does not have."""

import numpy as np

from keras_distill._internal import InputError
from keras_distill._internal._types import Array


def stratified(labels: Array, count: int, seed: int) -> Array:
    """Picks `count` examples so that each class has the same share as among all `labels`.

    Each class gets the integer part of its share. The remaining examples go to the classes with the
    largest remainders, lower class ids first. `seed` decides which examples of a class are picked
    (with NumPy's legacy generator, whose stream never changes).

    Args:
        labels: int, `(n,)`.
        count: How many examples to pick, 0..n.
        seed: Seed of the choice within each class.

    Returns:
        int64 `(count,)`: positions in `labels`, ascending.

    Example:
        >>> stratified(np.array([0, 0, 1, 1, 1, 1]), 3, seed=0).tolist()
        [1, 2, 4]
    """
    classes, sizes = np.unique(labels, return_counts=True)
    shares = sizes * (count / max(len(labels), 1))
    quota = np.floor(shares).astype(np.int64)
    by_remainder = np.argsort(-(shares - quota), kind="stable")
    quota[by_remainder[: count - int(quota.sum())]] += 1
    random = np.random.RandomState(seed)
    picks = [
        random.permutation(np.flatnonzero(labels == label))[:taken]
        for label, taken in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(picks)) if picks else np.zeros(0, np.int64)


def held_out(labels: Array, share: float, seed: int, *, what: str, source: str) -> Array:
    """Picks the positions of the examples to hold out of train, each class in proportion.

    Args:
        labels: int, `(n,)`: the labels of train.
        share: The fraction of train to hold out.
        seed: Seed of the choice.
        what: "validation" or "test", for errors.
        source: The spec, for errors.

    Returns:
        int64, ascending: at least one position. Every class keeps an example in train.

    Raises:
        InputError: If train is too small.
    """
    picks = stratified(labels, max(1, round(len(labels) * share)), seed)
    rest = np.delete(labels, picks)
    if not len(picks) or set(np.unique(labels)) - set(np.unique(rest)):
        raise InputError(
            f"{source}: too few examples to hold {what} out of train: every class needs at least 2."
            f" Received: {len(labels)} examples."
        )
    return picks
