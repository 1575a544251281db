"""Batches to train a student on: with the labels of the data, or the soft targets of a store."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_distill.data import Splits
    from keras_distill.targets import SoftTargetStore


def soft_stream(
    splits: "Splits",
    store: "SoftTargetStore | None",
    batch_size: int,
    *,
    seed: int,
    temperature: float,
) -> "Callable[[int], tf.data.Dataset]":
    """Returns a function from the number of the first epoch to batches.

    Args:
        splits: The data; its training split is read.
        store: Its soft targets; None: the batches have labels alone.
        batch_size: Examples per step.
        seed: Of the order.
        temperature: Of the soft targets.
    """
    from keras_distill import data

    def stream(epoch: int) -> "tf.data.Dataset":
        if store is None:
            return data.batches(
                splits.train, batch_size, shuffle_seed=seed, epoch=epoch, epochs=None
            )
        return store.batches(
            splits.train, batch_size, seed=seed, first_epoch=epoch, temperature=temperature
        )

    return stream
