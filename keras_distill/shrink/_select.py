"""Selects the units to keep: a fraction of each group, or the best ones within a budget."""

import difflib
from collections.abc import Callable, Mapping

import numpy as np

from keras_distill._internal import InputError, bad
from keras_distill._internal._types import Array
from keras_distill.shrink._analysis import Analysis, Group

LEAST = 1 / 32
"""The smallest share of a group that a budget leaves. Below it, one group would be starved while
others keep all."""


def by_width(
    analysis: Analysis,
    score: Array,
    width: float | Mapping[str, float],
    multiple: int,
) -> Array:
    """Keeps the most important units of each group.

    Args:
        analysis: Of the model.
        score: Importance of each unit, `(units,)`.
        width: Fraction of units to keep, > 0 and <= 1; or fractions by layer, 1 for other layers.
        multiple: Numbers of channels are rounded to multiples of this number, if a group has at
            least that many.

    Returns:
        bool `(units,)`.

    Raises:
        InputError: If a fraction is not valid or leaves no unit, or a named layer does not exist.
    """
    shares = _shares(analysis, width)
    keep = analysis.all()
    for group, order, share in zip(analysis.groups, _orders(analysis, score), shares, strict=True):
        keep[order[rounded(group, share * len(order), multiple) :]] = False
    return keep


def _shares(analysis: Analysis, width: float | Mapping[str, float]) -> list[float]:
    groups = analysis.groups
    if not isinstance(width, Mapping):
        largest = max((len(group.units) for group in groups), default=1)
        if width * largest < 1:
            raise InputError(
                f"`width` must be >= {1 / largest:.4g}, which leaves one unit of the {largest} in"
                f" the widest layer. Received: width={width:g}"
            )
        return [width] * len(groups)
    known = sorted({name for group in groups for name in group.layers})
    for name in width:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 3) or known[:10]
            raise bad(
                "width",
                f"name layers whose channels can be removed, such as {', '.join(near)}",
                name,
            )
    return [
        min((width[name] for name in group.layers if name in width), default=1.0)
        for group in groups
    ]


def within(
    analysis: Analysis,
    score: Array,
    fits: Callable[[Array], bool],
    multiple: int,
) -> tuple[Array, bool]:
    """Removes the least important units of all groups until the rest fits the budget.

    To compare groups, the importance is divided by the mean of its group. Each group keeps at least
    `LEAST` of its units.

    Args:
        analysis: The analysis of the model.
        score: Importance of each unit, `(units,)`.
        fits: Returns whether a selection of units is within the budget. If it is, it must also be
            after more units are removed.
        multiple: See `by_width`.

    Returns:
        The largest selection that fits, bool `(units,)`, and True. If none fits, the smallest
        selection and False.
        smallest choice.
    """
    orders = _orders(analysis, score)
    if not orders:
        return analysis.all(), fits(analysis.all())
    relative = [score[order] / max(float(score[order].mean()), 1e-12) for order in orders]
    owner = np.repeat(np.arange(len(orders)), [len(order) for order in orders])
    owner = owner[np.argsort(np.concatenate(relative), kind="stable")]

    def without(removed: int) -> Array:
        keep = analysis.all()
        gone = np.bincount(owner[:removed], minlength=len(orders))
        for group, order, count in zip(analysis.groups, orders, gone, strict=True):
            left = max(len(order) - count, LEAST * len(order))
            keep[order[rounded(group, left, multiple) :]] = False
        return keep

    low, high = 0, len(owner)
    while low < high:  # binary search: the fewest removals that fit
        middle = (low + high) // 2
        low, high = (low, middle) if fits(without(middle)) else (middle + 1, high)
    keep = without(low)
    return keep, fits(keep)


def _orders(analysis: Analysis, score: Array) -> list[Array]:
    """Returns the units of each group, the most important first."""
    return [
        group.units[np.argsort(-score[group.units], kind="stable")] for group in analysis.groups
    ]


def rounded(group: Group, count: float, multiple: int) -> int:
    """Returns the number of units to keep: at least 1, and a multiple if the group is large enough.

    Example:
        >>> group = Group(np.arange(40), (), channels=1, atomic=False, exact=True)
        >>> [rounded(group, n, 8) for n in (0.2, 5.4, 11, 13, 39)]
        [1, 5, 8, 16, 40]
    """
    step = 1 if group.atomic else multiple // np.gcd(multiple, group.channels)
    nearest = step * int(count / step + 0.5) if count >= step else int(count + 0.5)
    return int(min(len(group.units), max(1, nearest)))
