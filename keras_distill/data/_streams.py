"""Splits of data that is too large to be held in memory, or that comes as a tf.data pipeline."""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.data._splits import Splits, check_labels, held_out, missing, note

# Sources hold their examples in memory, unpacked, up to this many bytes.
MEMORY_LIMIT = 2 << 30


def labels_of(ds: tf.data.Dataset) -> np.ndarray:
    """The labels of a finite data set of `(x, y)`, int64 `(n,)`, in its order.

    Example:
        >>> labels_of(tf.data.Dataset.from_tensor_slices(([[0.0]] * 3, [2, 0, 1]))).tolist()
        [2, 0, 1]
    """
    only = ds.map(lambda x, y: y, tf.data.AUTOTUNE).batch(4096)
    parts = [np.asarray(y, np.int64) for y in only.as_numpy_iterator()]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def select(ds: tf.data.Dataset, keep: np.ndarray) -> tf.data.Dataset:
    """The elements of `ds` at which `keep` (bool, `(n,)`) is true, with known cardinality."""

    def flag(element, kept):
        return kept

    def drop_flag(element, kept):
        return element

    flagged = tf.data.Dataset.zip(ds, tf.data.Dataset.from_tensor_slices(keep))
    kept = flagged.filter(flag).map(drop_flag)
    return kept.apply(tf.data.experimental.assert_cardinality(int(keep.sum())))


def check_stream(ds: Any, *, where: str) -> tf.data.Dataset:
    """Returns `ds` if it is a finite, unbatched data set of `(x, y)`; y becomes int64.

    Raises:
        InputError: If it is not.
    """
    spec = ds.element_spec
    pair = isinstance(spec, tuple) and len(spec) == 2
    if not pair or not all(isinstance(s, tf.TensorSpec) for s in spec):
        raise InputError(f"{where}: elements must be (x, y), two tensors. Received: {spec}.")
    x, y = spec
    if not y.dtype.is_integer or y.shape.rank != 0:
        raise InputError(
            f"{where}: y must be a class id, an integer scalar, and the data unbatched."
            f" Received: {y.dtype.name} of shape {y.shape}."
        )
    if not x.shape.is_fully_defined() or x.shape.rank == 0:
        raise InputError(f"{where}: x must have a fixed shape. Received: {x.shape}.")
    if not (x.dtype.is_integer or x.dtype.is_floating):
        raise InputError(f"{where}: x must be numbers. Received: {x.dtype.name}.")
    if int(ds.cardinality()) < 1:
        raise InputError(
            f"{where}: the number of elements must be known and > 0: use"
            " tf.data.experimental.assert_cardinality(n)."
            f" Received: cardinality {int(ds.cardinality())} (-1 infinite, -2 unknown)."
        )
    dtype = x.dtype if x.dtype == tf.uint8 else tf.float32
    if x.dtype == dtype and y.dtype == tf.int64:
        return ds
    return ds.map(lambda x, y: (tf.cast(x, dtype), tf.cast(y, tf.int64)), tf.data.AUTOTUNE)


def _labels_of_source(ds: tf.data.Dataset, *, where: str) -> np.ndarray:
    try:
        return labels_of(ds)
    except tf.errors.OpError as error:
        reason = error.message.rpartition("}}")[2].strip().partition("\n")[0]
        raise InputError(f"{where}: reading it failed: {reason}") from error


def from_streams(
    streams: dict[str, tf.data.Dataset],
    *,
    source: str,
    name: str,
    class_names: tuple[str, ...] | None = None,
    validation: float | None = None,
    seed: int = 0,
    notes: tuple[str, ...] = (),
) -> Splits:
    """Checks pipelines of examples, and holds out what splits are missing; nothing is kept.

    Arguments and errors are those of `splits.from_arrays`; labels are read once, x is not checked
    to be finite.
    """
    streams = {s: check_stream(ds, where=f"{source}: {s}") for s, ds in streams.items()}
    labels = {s: _labels_of_source(ds, where=f"{source}: {s}") for s, ds in streams.items()}
    for split, ds in streams.items():
        if ds.element_spec != streams["train"].element_spec:
            raise InputError(
                f"{source}: {split} must look like train, {streams['train'].element_spec}."
                f" Received: {ds.element_spec}."
            )
    names = check_labels(labels, class_names, source=source)
    for split, share, split_seed in missing(streams, validation, seed):
        train = labels["train"]
        picks = held_out(train, share, split_seed, what=split, source=source)
        out = np.zeros(len(train), bool)
        out[picks] = True
        streams[split] = select(streams["train"], out)
        streams["train"] = select(streams["train"], ~out)
        labels["train"] = train[~out]
        notes += (note(split, len(picks), len(train), split_seed),)
    shape = tuple(streams["train"].element_spec[0].shape)
    return Splits(
        **streams, class_names=names, input_shape=shape, name=name, spec=source, notes=notes
    )
