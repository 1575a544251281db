"""Assigns ids to channels, and records which of them can only be removed together."""

from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from keras_distill._internal._types import Array

ZERO = 0
"""The id of a channel that is a constant zero, such as padding. It is fixed."""


class ChannelIds:
    """Assigns an id to every channel, and records which ids are joined and which are fixed.

    Joining only records a pair. `units` computes the connected components once, at the end.

    Example:
        >>> ids = ChannelIds()
        >>> a, b = ids.new(3), ids.new(3)
        >>> ids.join(a, b)
        >>> ids.fix(a[:1])
        >>> unit, fixed = ids.units()
        >>> unit[b].tolist() == unit[a].tolist(), fixed[unit[b]].tolist()
        (True, [True, False, False])
    """

    def __init__(self) -> None:
        self._count = ZERO + 1
        self._fixed: list[Array] = [np.array([ZERO])]
        self._pairs: list[tuple[Array, Array]] = []

    def new(self, count: int, *, fixed: bool = False) -> Array:
        """Returns `count` new ids."""
        ids = np.arange(self._count, self._count + count)
        self._count += count
        if fixed:
            self.fix(ids)
        return ids

    def fix(self, ids: Any) -> None:
        """Fixes these ids and all ids that are joined with them: they are never removed."""
        self._fixed.append(np.ravel(ids))

    def join(self, a: Any, b: Any) -> None:
        """Joins each id of `a` with the id at the same position in `b`."""
        a, b = np.broadcast_arrays(a, b)
        self._pairs.append((np.ravel(a), np.ravel(b)))

    def join_rows(self, matrix: Array) -> None:
        """Joins the ids in each row."""
        if matrix.shape[1] > 1:
            self.join(matrix[:, :1], matrix[:, 1:])

    def units(self) -> tuple[Array, Array]:
        """Returns the unit of each id, and whether each unit is fixed.

        A unit is a set of ids that can only be removed together.
        """
        parts = list(zip(*self._pairs, strict=True)) or [([], []), ([], [])]
        first, second = (np.concatenate([*part, np.empty(0, int)]).astype(int) for part in parts)
        graph = coo_matrix(
            (np.ones(len(first), bool), (first, second)), shape=(self._count, self._count)
        )
        count, unit = connected_components(graph, directed=False)
        fixed = np.zeros(count, bool)
        fixed[unit[np.concatenate(self._fixed)]] = True
        return unit, fixed
