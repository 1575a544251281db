"""Functions that read the labels of a data set, keep some of them, and select examples."""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, check_count
from keras_distill._internal._checks import MAX_INT
from keras_distill._internal._types import Array, Dataset, Tensor
from keras_distill.data._memory import MemoryDataset
from keras_distill.data._stratified import stratified

UNLABELED = -1


def labels_of(ds: Dataset) -> Array:
    """Reads the labels of a finite data set of `(x, y)`, int64 `(n,)`, in the order of the data.

    Example:
        >>> labels_of(tf.data.Dataset.from_tensor_slices(([[0.0]] * 3, [2, 0, 1]))).tolist()
        [2, 0, 1]
    """
    only = ds.map(lambda x, y: y, tf.data.AUTOTUNE).batch(4096)
    parts = [np.asarray(y, np.int64) for y in only.as_numpy_iterator()]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def select(ds: Dataset, keep: Array) -> Dataset:
    """Selects the elements of `ds` where `keep` is true; the result has known cardinality.

    Args:
        ds: Any finite data set of n elements.
        keep: bool `(n,)`.
    """

    def flag(element: Any, kept: Tensor) -> Tensor:
        return kept

    def drop_flag(element: Any, kept: Tensor) -> Any:
        return element

    flagged = tf.data.Dataset.zip(ds, tf.data.Dataset.from_tensor_slices(keep))
    predicate: Any = flag  # `filter` passes two arguments, but its annotation allows only one
    kept = flagged.filter(predicate).map(drop_flag)
    return kept.apply(tf.data.experimental.assert_cardinality(int(keep.sum())))


def keep_labels(train: Dataset, count: int, *, seed: int = 0) -> Dataset:
    """Keeps the labels of `count` examples and sets all others to -1, "unlabeled".

    Each class keeps labels in proportion to its examples. The examples and their order do not
    change.

    Args:
        train: A data set of `(x, y)`, unbatched, finite; y a class id.
        count: How many labels to keep, from the number of classes to the number of labels.
        seed: Seed of the choice of the examples that keep their labels.

    Returns:
        A data set like `train`, with the same cardinality.

    Raises:
        InputError: If `count` is too small to give each class a label, or too large.

    Example:
        >>> train = tf.data.Dataset.from_tensor_slices(([[0.0]] * 6, [0, 0, 0, 1, 1, 1]))
        >>> [int(y) for _, y in keep_labels(train, 2, seed=0)]
        [-1, -1, 0, -1, -1, 1]
    """
    check_count("count", count, at_most=MAX_INT)
    labels = labels_of(train)
    labeled = np.flatnonzero(labels >= 0)
    classes = np.unique(labels[labeled])
    if count > len(labeled):
        raise InputError(
            f"`count` must be <= the number of labels, {len(labeled)}. Received: count={count}"
        )
    kept = labeled[stratified(labels[labeled], count, seed)]
    if len(np.unique(labels[kept])) < len(classes):
        raise InputError(
            f"`count` must be large enough that each of the {len(classes)} classes keeps a label."
            f" Received: count={count}"
        )
    new = np.full(len(labels), UNLABELED, np.int64)
    new[kept] = labels[kept]
    if isinstance(train, MemoryDataset):
        return MemoryDataset((train.tensors[0], new))
    relabeled = tf.data.Dataset.zip(train, tf.data.Dataset.from_tensor_slices(new))
    return relabeled.map(_replace_label, tf.data.AUTOTUNE)


def _replace_label(element: Any, label: Tensor) -> tuple[Any, Tensor]:
    return element[0], label
