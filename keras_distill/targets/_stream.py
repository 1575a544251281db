"""Input and output of a build: batches of examples with keys, and files written atomically."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_distill.data import Augmentation, Pool, read_ahead
from keras_distill.targets import _keys
from keras_distill.targets._score import judged_labels


class PaddedBatch(NamedTuple):
    """`count` examples, padded to the batch size with copies of the last one; their labels."""

    x: Any
    keys: np.ndarray
    count: int
    labels: Any = None


def keyed_batches(
    dataset: tf.data.Dataset,
    batch_size: int,
    *,
    skip: int = 0,
    view: int = 0,
    augment: Augmentation | None = None,
    pool: Pool | None = None,
) -> tf.data.Dataset:
    """Returns `(x, keys)` of one view, a batch at a time, or `(x, keys, labels)`.

    Labels are included if they are numbers of a fixed shape; they match the augmented views.

    Args:
        dataset: Unbatched.
        batch_size: Examples in a batch.
        skip: The number of examples to skip at the start, a multiple of `batch_size`.
        view: The index of the view.
        augment: Its augmentation.
        pool: The examples from which mixing partners are drawn; None to read them from `dataset`
            if needed.
    """
    spec: Any = dataset.element_spec
    mixes = augment is not None and augment.mixes
    labeled = len(spec) > 1 and judged_labels(spec[1]) is not None and not mixes

    @_keys.as_written
    def keyed(x: Any, *rest: Any) -> tuple:
        return (x, _keys.key(x), *rest[: int(labeled)])

    data = dataset.skip(skip).map(keyed, num_parallel_calls=4)
    if augment is None:
        return read_ahead(data.batch(batch_size))

    pool = pool or pool_of(dataset, augment)

    @_keys.as_written
    def viewed(index: tf.Tensor, pair: tuple) -> tuple:
        x, *others = pair
        return augment.apply(x, index, view, pool), *others

    return read_ahead(data.enumerate(skip).batch(batch_size).map(viewed))


def pool_of(dataset: tf.data.Dataset, augment: Augmentation | None) -> Pool | None:
    """Reads the examples that partners are drawn from; None if the augmentation does not mix."""
    if augment is None or not augment.mixes:
        return None
    without_labels = dataset.map(_keys.as_written(lambda x, *_: (x, 0)))
    return Pool.of(without_labels.enumerate())


def padded(batches: tf.data.Dataset, batch_size: int) -> Iterator[PaddedBatch]:
    """Yields the batches of `keyed_batches`, all padded to full size.

    The last bits of a teacher's logits can depend on the shape of the batch. With batches that
    start at the same examples and have the same shape, a resumed build is byte-identical.

    Args:
        batches: `(x, keys)` or `(x, keys, labels)`.
        batch_size: Examples in a batch.
    """
    for x, key, *labels in batches.as_numpy_iterator():
        count = len(key)
        missing = batch_size - count
        if missing:
            x = tf.nest.map_structure(
                lambda a, m=missing: np.concatenate([a, np.repeat(a[-1:], m, axis=0)]), x
            )
        yield PaddedBatch(x, key, count, *labels)


@contextlib.contextmanager
def whole_files(*paths: Path) -> Iterator[list[Any]]:
    """Yields open files that appear at `paths`, in this order, only when completely written.

    Empty files are removed. If the block fails, all files are removed.
    """
    temporary = [path.with_name(f"{path.name}.{os.getpid()}.tmp") for path in paths]
    try:
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in temporary]
            yield files
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        for source, path in zip(temporary, paths, strict=True):
            if source.stat().st_size:
                os.replace(source, path)
    finally:
        for path in temporary:
            path.unlink(missing_ok=True)
