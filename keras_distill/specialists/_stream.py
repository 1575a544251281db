"""The training stream of a specialist: by default, half from its classes, half from all others."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_distill._internal import _checks, bad
from keras_distill.data import Augmentation, labels_of, read_ahead, select
from keras_distill.specialists._bins import check_class_sets
from keras_distill.specialists._build import dustbin_correction

# Each part of the training data is cached in memory if it is not larger than this size.
_CACHE_BYTES = 1 << 30
_BUFFER = 50_000  # size of the shuffle buffer, in examples


class Stream(NamedTuple):
    """The batches of `specialist_stream`, and their properties.

    Attributes:
        batches: Infinite batches `(x, y)`; y is int64 in 0..|S|, where |S| is the dustbin.
        steps_per_epoch: Number of batches with as many examples of S as the training data has.
        correction: `dustbin_correction` for this data and share.
    """

    batches: tf.data.Dataset
    steps_per_epoch: int
    correction: float


def specialist_stream(
    train: tf.data.Dataset,
    class_ids: Sequence[int],
    *,
    num_classes: int,
    share: float = 0.5,
    batch_size: int = 128,
    seed: int = 0,
    augment: Augmentation | None = None,
    labels: np.ndarray | None = None,
) -> Stream:
    """Draws each example from S with probability `share`, otherwise from the other classes.

    Both parts are shuffled and repeated separately, so that every example of a part is used once
    before any is used again. The order depends only on `seed`.

    Args:
        train: `(x, y)`, unbatched, finite; y is a class id.
        class_ids: The specialist's classes S.
        num_classes: Number of classes N.
        share: Fraction of the stream that comes from S.
        batch_size: Examples per batch.
        seed: Seed of the order.
        augment: Applied to each batch; the view is the number of the batch.
        labels: int `(n,)`, the labels of `train`, if known. If None, they are read from `train`.

    Raises:
        InputError: If S is not a valid set of classes, the data contains no example of S or of the
            other classes, or some examples are unlabeled.

    Example:
        >>> examples = np.zeros((40, 1)), np.arange(40) % 4
        >>> train = tf.data.Dataset.from_tensor_slices(examples)
        >>> stream = specialist_stream(train, [2], num_classes=4, batch_size=10)
        >>> stream.steps_per_epoch, round(stream.correction, 3)
        (2, 1.099)
        >>> x, y = next(iter(stream.batches))
        >>> sorted(set(y.numpy().tolist()))
        [0, 1]
    """
    (ids,) = check_class_sets([class_ids], num_classes)
    _checks.check_batch_size(batch_size)
    labels = labels_of(train) if labels is None else np.asarray(labels)
    invalid = labels[(labels < 0) | (labels >= num_classes)]
    if invalid.size:
        raise bad(
            "labels",
            f"be class ids in 0..{num_classes - 1}",
            np.unique(invalid).tolist(),
            "Remove unlabeled examples (-1).",
        )
    correction = dustbin_correction(labels, ids.tolist(), share)
    inside = np.isin(labels, ids)
    indexed = train.enumerate()
    parts = [
        _in_memory(select(indexed, part), int(part.sum()), train.element_spec)
        for part in (inside, ~inside)
    ]
    sizes = [int(inside.sum()), int((~inside).sum())]

    def mix(_):
        # This graph has its own seed, so that the order does not depend on the seed of the process.
        tf.compat.v1.set_random_seed(1)
        infinite = [
            part.shuffle(min(size, _BUFFER), seed=seed + number).repeat()
            for number, (part, size) in enumerate(zip(parts, sizes, strict=True))
        ]
        return tf.data.Dataset.sample_from_datasets(infinite, [share, 1 - share], seed=seed)

    mixed = tf.data.Dataset.range(1).flat_map(mix)
    position = np.full(num_classes, len(ids), np.int64)
    position[ids] = np.arange(len(ids))
    positions = tf.constant(position)

    def finish(number, batch):
        index, (x, y) = batch
        x = x if augment is None else augment.apply(x, index, number)
        return x, tf.gather(positions, y)

    batches = mixed.batch(batch_size, drop_remainder=True).enumerate()
    batches = read_ahead(batches.map(finish, tf.data.AUTOTUNE))
    steps = math.ceil(int(inside.sum()) / share / batch_size)
    return Stream(batches, steps, correction)


def _in_memory(part: tf.data.Dataset, count: int, spec: Any) -> tf.data.Dataset:
    x = spec[0]
    small = count * x.dtype.size * math.prod(x.shape) <= _CACHE_BYTES
    return part.cache() if small else part
