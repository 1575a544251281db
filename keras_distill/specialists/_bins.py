"""Checks class sets, and groups the classes that no specialist distinguishes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_distill._internal import InputError, bad


@dataclass(frozen=True)
class Bins:
    """The groups of N classes that M specialists do not distinguish.

    Classes that are outside the sets of the same specialists form a group. No dustbin distinguishes
    them, so inference needs one number per group, not per class.

    Attributes:
        class_sets: M arrays of class ids.
        num_classes: Number of classes N.
        outside: float64 `(M, G)`: 1 if the group's classes are in the specialist's dustbin.
        group_of: int64 `(N,)`: the group of each class.
        group_sizes: float64 `(G,)`: number of classes in each group.
    """

    class_sets: tuple[np.ndarray, ...]
    num_classes: int
    outside: np.ndarray
    group_of: np.ndarray
    group_sizes: np.ndarray

    @classmethod
    def of(cls, class_sets: Sequence[Any], num_classes: int) -> "Bins":
        """Groups the classes.

        Args:
            class_sets: M arrays of class ids, each id once; sets may overlap.
            num_classes: Number of classes N.

        Raises:
            InputError: If a set is not valid (see `check_class_sets`), or leaves no class for the
                dustbin.

        Example:
            >>> bins = Bins.of([[0, 1], [1, 2]], num_classes=5)
            >>> bins.group_of.tolist(), bins.group_sizes.tolist()
            ([1, 0, 2, 3, 3], [1.0, 1.0, 1.0, 2.0])
        """
        sets = check_class_sets(class_sets, num_classes)
        outside = np.ones((len(sets), num_classes))
        for row, ids in zip(outside, sets, strict=True):
            row[ids] = 0
        if not sets:  # np.unique needs at least one row
            group_of = np.zeros(num_classes, np.int64)
            return cls(sets, num_classes, outside[:, :1], group_of, np.array([float(num_classes)]))
        groups, group_of, sizes = np.unique(
            outside, axis=1, return_inverse=True, return_counts=True
        )
        return cls(sets, num_classes, groups, group_of.reshape(-1), sizes.astype(float))

    @property
    def membership(self) -> np.ndarray:
        """float64 `(N, G)`: 1 if the class belongs to the group."""
        matrix = np.zeros((self.num_classes, len(self.group_sizes)))
        matrix[np.arange(self.num_classes), self.group_of] = 1
        return matrix


def check_class_sets(class_sets: Sequence[Any], num_classes: int) -> tuple[np.ndarray, ...]:
    """Returns the sets as int64 arrays.

    Raises:
        InputError: If a set is empty, repeats an id, has an id outside 0..N-1, or all classes.
    """
    checked = []
    for number, ids in enumerate(class_sets):
        ids, name = np.asarray(ids), f"class_sets[{number}]"
        if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "ui":
            raise bad(name, "be a non-empty list of class ids", ids)
        if ids.min() < 0 or ids.max() >= num_classes or len(np.unique(ids)) < len(ids):
            raise bad(name, f"have distinct class ids in 0..{num_classes - 1}", ids)
        if len(ids) == num_classes:
            raise InputError(
                f"`{name}` must leave a class for the dustbin. Received: all {num_classes} classes"
            )
        checked.append(ids.astype(np.int64))
    return tuple(checked)
