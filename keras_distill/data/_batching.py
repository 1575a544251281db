"""Batches whose order depends only on a seed and the epoch, so that a run can be resumed."""

import math
from typing import Any

import tensorflow as tf

from keras_distill._internal import InputError, check_batch_size, check_count
from keras_distill._internal._checks import MAX_INT
from keras_distill._internal._types import Dataset, Tensor
from keras_distill.data._memory import MemoryDataset

# The seed of an epoch is seed * _SEED_STEP + epoch * _EPOCH_STEP, modulo 2^64. Small multiples of
# these odd constants lie far apart, so that no two pairs (seed, epoch) in use share an order.
_SEED_STEP = 0x9E3779B97F4A7C15
_EPOCH_STEP = 0xD1B54A32D192ED03


def batches(
    ds: Dataset,
    batch_size: int,
    *,
    shuffle_seed: int | None = None,
    epoch: int = 0,
    epochs: int | None = 1,
    buffer: int | None = None,
    drop_remainder: bool = False,
) -> Dataset:
    """Makes batches of a data set for some epochs; with a seed, each epoch has its own order.

    The order depends only on (`shuffle_seed`, epoch). It is the same in another process, after any
    number of epochs, and with any `tf.random.set_seed`. No batch has examples of two epochs.

    Args:
        ds: Unbatched, finite, with known cardinality; any element structure.
        batch_size: Elements per batch.
        shuffle_seed: The seed of the order, >= 0; None keeps the order of `ds`.
        epoch: The number of the first epoch, from 0.
        epochs: The number of epochs; None repeats without end.
        buffer: The size of the shuffle buffer, in elements. None uses all elements; the order is
            then a uniform permutation.
        drop_remainder: Whether to drop the last batch if it is not full.

    Returns:
        A data set of batches, prefetched, with known (or infinite) cardinality.

    Raises:
        InputError: If a number is out of range, or `ds` is empty, infinite, or of unknown
            cardinality.

    Example:
        >>> ds = tf.data.Dataset.range(5)
        >>> [b.tolist() for b in batches(ds, 2, shuffle_seed=0, epoch=3).as_numpy_iterator()]
        [[4, 0], [3, 2], [1]]
    """
    check_batch_size(batch_size)
    check_count("epoch", epoch, at_least=0, at_most=MAX_INT)
    size = int(ds.cardinality())
    if size < 1:
        raise InputError(f"batches: the data must be finite, with known cardinality: {size}.")
    if epochs is not None:
        check_count("epochs", epochs)
    if shuffle_seed is not None:
        check_count("shuffle_seed", shuffle_seed, at_least=0, at_most=MAX_INT)
    buffer = size if buffer is None else min(check_count("buffer", buffer, at_most=MAX_INT), size)

    def one_epoch(seed: Tensor) -> Dataset:
        if isinstance(ds, MemoryDataset):
            order = shuffled(tf.data.Dataset.range(size), buffer, seed)
            return order.batch(batch_size, drop_remainder=drop_remainder).map(ds.gather)
        return shuffled(ds, buffer, seed).batch(batch_size, drop_remainder=drop_remainder)

    if shuffle_seed is None:
        result = ds.batch(batch_size, drop_remainder=drop_remainder).repeat(epochs)
    else:
        start = _signed(shuffle_seed * _SEED_STEP + epoch * _EPOCH_STEP)
        seeds = tf.data.Dataset.counter(start, _signed(_EPOCH_STEP))
        result = (seeds if epochs is None else seeds.take(epochs)).flat_map(one_epoch)
        per_epoch = size // batch_size if drop_remainder else math.ceil(size / batch_size)
        total = tf.data.INFINITE_CARDINALITY if epochs is None else per_epoch * epochs
        result = result.apply(tf.data.experimental.assert_cardinality(total))
    return read_ahead(result)


def read_ahead(ds: Dataset) -> Dataset:
    """Prefetches two elements of `ds` and turns off the autotuning of tf.data.

    When an autotuned iterator ends, it waits for the tuner to wake up, which happens 10, 30, 70, …
    (2^k - 1)·10 ms after the start. With TensorFlow 2.21, an epoch of 6 s sometimes takes 10.2 s.

    Args:
        ds: Any data set.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return ds.prefetch(2).with_options(options)


def epoch_seed(shuffle_seed: int, epoch: Tensor) -> Tensor:
    """Computes the seed of an epoch for `shuffled`, an int64 scalar; works in a graph."""
    start, step = _signed(shuffle_seed * _SEED_STEP), _signed(_EPOCH_STEP)
    return tf.constant(start, tf.int64) + tf.cast(epoch, tf.int64) * tf.constant(step, tf.int64)


def shuffled(ds: Dataset, buffer: int, seed: Tensor) -> Dataset:
    """Shuffles `ds` in an order that depends only on `seed`; call it inside `flat_map`.

    Args:
        ds: Any data set.
        buffer: The size of the shuffle buffer, in elements.
        seed: int64 scalar.
    """
    # This sets only the seed of this function's graph, so that the order does not depend on the
    # seed of the process. The seed is not 0, because (0, 0) makes TensorFlow draw a random seed.
    tf.compat.v1.set_random_seed(1)
    shuffle_seed: Any = seed  # `shuffle` accepts a tensor, but its annotation does not
    return ds.shuffle(buffer, seed=shuffle_seed, reshuffle_each_iteration=False)


def _signed(value: int) -> int:
    """Converts `value` modulo 2^64 to a signed 64-bit integer."""
    value %= 1 << 64
    return value - (1 << 64) if value >> 63 else value
