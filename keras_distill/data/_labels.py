"""Few labels: which examples keep theirs."""

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, check_count
from keras_distill.data._splits import stratified
from keras_distill.data._streams import labels_of

UNLABELED = -1


def keep_labels(train: tf.data.Dataset, count: int, *, seed: int = 0) -> tf.data.Dataset:
    """Keeps the labels of `count` examples and gives -1, "unlabeled", to all others.

    Each class keeps labels in proportion to its examples. The examples and their order stay.

    Args:
        train: `(x, y)`, unbatched, finite; y a class id.
        count: How many labels to keep, from the number of classes to the number of examples.
        seed: Which examples keep theirs.

    Returns:
        A data set like `train`, with the same cardinality.

    Raises:
        InputError: If `count` is too small to give each class a label, or too large.

    Example:
        >>> train = tf.data.Dataset.from_tensor_slices(([[0.0]] * 6, [0, 0, 0, 1, 1, 1]))
        >>> [int(y) for _, y in keep_labels(train, 2, seed=0)]
        [-1, -1, 0, -1, -1, 1]
    """
    check_count("count", count)
    labels = labels_of(train)
    classes = np.unique(labels[labels >= 0])
    if count > len(labels):
        raise InputError(f"`count` must be <= the number of examples, {len(labels)}: {count}.")
    kept = stratified(labels, count, seed)
    if len(np.unique(labels[kept])) < len(classes):
        raise InputError(
            f"`count` must be large enough that each of the {len(classes)} classes keeps a label."
            f" Received: count={count}"
        )
    new = np.full(len(labels), UNLABELED, np.int64)
    new[kept] = labels[kept]
    relabeled = tf.data.Dataset.zip(train, tf.data.Dataset.from_tensor_slices(new))
    return relabeled.map(_replace_label, tf.data.AUTOTUNE)


def _replace_label(element, label):
    return element[0], label
