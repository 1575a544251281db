"""Checks the arrays of examples and labels, and the names of the classes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_distill._internal import InputError
from keras_distill._internal._array_likes import to_array
from keras_distill._internal._types import Array, Dataset
from keras_distill.data._memory import MemoryDataset


@dataclass
class Arrays:
    """Examples in memory: x `(n, ...)` and y `(n,)` or None, checked by `check_arrays`."""

    x: Array
    y: Array | None

    def take(self, picks: Array) -> "Arrays":
        """Returns the examples at the positions `picks`."""
        return Arrays(self.x[picks], None if self.y is None else self.y[picks])

    def drop(self, picks: Array) -> "Arrays":
        """Returns all other examples."""
        return self.take(np.delete(np.arange(len(self.x)), picks))

    def dataset(self) -> Dataset:
        """Returns the examples as a data set of `(x, y)`, or of x."""
        return in_memory(self.x if self.y is None else (self.x, self.y))


def in_memory(arrays: Any) -> Dataset:
    """Returns the rows of arrays, or of a structure of arrays, as a data set."""
    return MemoryDataset(arrays)


def kept_dtype(dtype: npt.DTypeLike) -> np.dtype[Any] | None:
    """Returns the dtype in which examples are kept; None if they are neither numbers nor text.

    Integers stay integers, because a model may use them as indices (`Embedding`): uint8, int32,
    and int64 are unchanged, other integers become int32 or int64. Text stays text. Floats and
    booleans become float32.

    Example:
        >>> [str(kept_dtype(d)) for d in ("uint8", "int16", "uint32", "float64", "bool")]
        ['uint8', 'int32', 'int64', 'float32', 'float32']
    """
    dtype = np.dtype(dtype)
    if dtype.kind in "US":
        return dtype
    if dtype.kind in "fb":
        return np.dtype(np.float32)
    if dtype.kind not in "ui":
        return None
    if dtype == np.uint8:
        return dtype
    return np.dtype(np.int32 if dtype.itemsize < 4 or dtype == np.int32 else np.int64)


def check_arrays(x: npt.ArrayLike, y: npt.ArrayLike | None, *, where: str) -> Arrays:
    """Checks the examples and labels of one split, and converts their dtypes.

    Args:
        x: Numbers `(n, ...)` with two or more axes, or text `(n,)` or `(n, ...)`.
        y: Integers or class names, `(n,)` or `(n, 1)`; None if the examples are unlabeled.
        where: The name of the arrays, for errors, such as "data.npz: train".

    Returns:
        x in the dtype that `kept_dtype` returns, and y as int64 class ids. Class names stay text.

    Raises:
        InputError: If a dtype or shape is wrong, lengths differ, x is empty or not finite, an
            integer in x does not fit in int64, or a label is negative.
    """
    x = _checked_x(to_array(f"{where}: x", x), where)
    if y is None:
        return Arrays(x, None)
    return Arrays(x, _checked_labels(to_array(f"{where}: y", y), len(x), where))


def _checked_x(x: Array, where: str) -> Array:
    dtype = kept_dtype(x.dtype)
    if dtype is None or x.ndim < (1 if dtype.kind in "US" else 2):
        raise InputError(
            f"{where}: x must be numbers of shape (examples, ...), or text. Received: {x.dtype}"
            f" {x.shape}."
        )
    if not len(x):
        raise InputError(f"{where}: no examples.")
    if x.dtype == np.uint64 and x.max() > np.iinfo(np.int64).max:
        raise InputError(f"{where}: whole numbers in x must be < 2**63. Received: {x.max()}.")
    x = np.ascontiguousarray(x, dtype)
    if dtype.kind == "f" and not np.isfinite(x).all():
        raise InputError(f"{where}: x must be finite (no NaN, no infinity).")
    return x


def _checked_labels(y: Array, examples: int, where: str) -> Array:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind not in "uiU":
        hint = " Take argmax of one-hot rows." if y.ndim == 2 else ""
        raise InputError(
            f"{where}: labels must be whole numbers of shape (examples,), the class ids."
            f" Received: {y.dtype} {y.shape}.{hint}"
        )
    if examples != len(y):
        raise InputError(f"{where}: {examples} examples, but {len(y)} labels.")
    if y.dtype.kind == "U":
        return y
    y = y.astype(np.int64)
    if y.min() < 0:
        raise InputError(f"{where}: labels must be >= 0. Received: {y.min()}.")
    return y


def check_labels(
    labels: dict[str, Array], class_names: tuple[str, ...] | None, *, source: str
) -> tuple[str, ...]:
    """Checks that train has examples of every class, and returns the class names.

    Args:
        labels: The int64 labels by split; "train" is required.
        class_names: The names by class id; None uses the ids as names.
        source: The spec, for errors.

    Raises:
        InputError: If there are fewer than 2 classes, a class has no training examples, or a label
            is out of range.
    """
    train = labels["train"]
    largest, examples = int(train.max()), len(train)
    if class_names is None and largest >= examples:
        raise InputError(
            f"{source}: labels must number the classes from 0 without a gap, each with training"
            f" examples. Received: label {largest} among {examples} training examples."
        )
    if class_names is None:
        class_names = tuple(str(i) for i in range(largest + 1))
    if len(class_names) < 2:
        raise InputError(f"{source}: needs at least 2 classes. Received: {len(class_names)}.")
    for split, values in labels.items():
        if values.min() < 0 or values.max() >= len(class_names):
            wrong = values.min() if values.min() < 0 else values.max()
            raise InputError(
                f"{source}: labels of {split} must be in 0..{len(class_names) - 1},"
                f" the classes of train. Received: {wrong}."
            )
    counts = np.bincount(train, minlength=len(class_names))
    if not counts.all():
        empty = int(np.argmin(counts))
        raise InputError(
            f"{source}: class {empty} ({class_names[empty]}) has no training examples;"
            " labels must number the classes from 0 without a gap."
            + (" Subtract 1 from all labels." if empty == 0 and int(train.min()) == 1 else "")
        )
    return class_names


def class_names_of(
    labels: dict[str, Array],
    splits: Collection[str],
    class_names: tuple[str, ...] | None,
    *,
    source: str,
) -> tuple[str, ...]:
    """Returns the result of `check_labels`, or an empty tuple if no split has labels.

    Args:
        labels: The int64 labels by split, of the splits that have labels.
        splits: The names of all splits.
        class_names: As for `check_labels`.
        source: The spec, for errors.

    Raises:
        InputError: If only some splits have labels, there are class names but no labels, or
            `check_labels` rejects the labels.
    """
    if labels and len(labels) < len(splits):
        without = ", ".join(sorted(set(splits) - set(labels)))
        raise InputError(
            f"{source}: all splits must have labels, or none. Received: no labels in {without}."
        )
    if labels:
        return check_labels(labels, class_names, source=source)
    if class_names is not None:
        raise InputError(f"{source}: class_names need labels. Received: none.")
    return ()


def number_names(
    parts: Mapping[str, Arrays], class_names: tuple[str, ...] | None, source: str
) -> tuple[str, ...] | None:
    """Replaces labels that are class names by class ids, in place; returns the names by class id.

    Without `class_names`, the names are the sorted labels of the first split that has names. If no
    labels are class names, nothing changes, and `class_names` is returned.

    Raises:
        InputError: If a label is not among the names.
    """
    named = [y for part in parts.values() if (y := part.y) is not None and y.dtype.kind == "U"]
    if not named:
        return class_names
    names = class_names or tuple(np.unique(named[0]).tolist())
    ids = {name: number for number, name in enumerate(names)}
    for split, part in parts.items():
        if part.y is None:
            continue
        unknown = sorted(set(map(str, part.y.tolist())) - set(ids))
        if unknown:
            raise InputError(
                f"{source}: labels of {split} must be names of the classes"
                f" ({', '.join(names):.150}). Received: {unknown[0]!r:.60}."
            )
        part.y = np.array([ids[str(label)] for label in part.y.tolist()], np.int64)
    return names
