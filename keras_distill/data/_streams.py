"""Makes `Splits` from tf.data pipelines, for data too large for memory and for user code."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._types import Array, Dataset
from keras_distill.data._checked_arrays import class_names_of, kept_dtype
from keras_distill.data._labels import labels_of, select
from keras_distill.data._splits import Source, Splits, missing, note
from keras_distill.data._stratified import held_out

# Sources keep their decoded examples in memory up to this many bytes.
MEMORY_LIMIT = 2 << 30


def check_stream(ds: Dataset, *, where: str) -> Dataset:
    """Checks that `ds` is a finite, unbatched data set of `(x, y)` or of x, and converts dtypes.

    Args:
        ds: The data set.
        where: The name of the data set, for errors.

    Returns:
        The data set, with x in the dtype that `kept_dtype` returns, and y as int64.

    Raises:
        InputError: If the elements or the cardinality are not valid.
    """
    spec: Any = ds.element_spec
    parts: list[Any] = list(spec) if isinstance(spec, tuple) else [spec]
    tensors = all(isinstance(s, tf.TensorSpec) for s in parts)
    if not tensors or len(parts) > 2 or (len(parts) == 1 and isinstance(spec, tuple)):
        raise InputError(
            f"{where}: elements must be (x, y), two tensors, or x alone. Received: {spec}."
        )
    x: Any = parts[0]
    y: Any = parts[-1] if len(parts) == 2 else None
    if y is not None and (not y.dtype.is_integer or y.shape.rank != 0):
        raise InputError(
            f"{where}: y must be a class id, an integer scalar, and the data unbatched."
            f" Received: {y.dtype.name} of shape {y.shape}."
        )
    if not x.shape.is_fully_defined() or (x.shape.rank == 0 and x.dtype != tf.string):
        raise InputError(f"{where}: x must have a fixed shape. Received: {x.shape}.")
    dtype = tf.string if x.dtype == tf.string else _kept(x.dtype)
    if dtype is None:
        raise InputError(f"{where}: x must be numbers or text. Received: {x.dtype.name}.")
    if int(ds.cardinality()) < 1:
        raise InputError(
            f"{where}: the number of elements must be known and > 0: use"
            " tf.data.experimental.assert_cardinality(n)."
            f" Received: cardinality {int(ds.cardinality())} (-1 infinite, -2 unknown)."
        )
    if x.dtype == dtype and (y is None or y.dtype == tf.int64):
        return ds
    if y is None:
        return ds.map(lambda x: tf.cast(x, dtype), tf.data.AUTOTUNE)
    return ds.map(lambda x, y: (tf.cast(x, dtype), tf.cast(y, tf.int64)), tf.data.AUTOTUNE)


def _kept(dtype: tf.DType) -> tf.DType | None:
    """Returns the dtype in which numbers are kept; None if they are not real numbers."""
    if not (dtype.is_integer or dtype.is_floating or dtype.is_bool):
        return None
    if dtype == tf.bfloat16:
        return tf.float32
    kept = kept_dtype(dtype.as_numpy_dtype)
    return None if kept is None else tf.as_dtype(kept)


def _labels_of_source(ds: Dataset, *, where: str) -> Array:
    try:
        return labels_of(ds)
    except tf.errors.OpError as error:
        reason = error.message.rpartition("}}")[2].strip().partition("\n")[0]
        raise InputError(f"{where}: reading it failed: {reason}") from error


def from_streams(
    streams: Mapping[str, Dataset],
    source: Source,
    *,
    name: str,
    class_names: tuple[str, ...] | None = None,
    notes: tuple[str, ...] = (),
) -> Splits:
    """Makes the splits of a source from pipelines: checks them, and holds out the missing splits.

    Labels are read once and must be class ids. The examples are not kept in memory, and x is not
    checked to be finite.

    Args:
        streams: The data sets by split: "train" and, if the source has them, "validation" and
            "test".
        source: As for `from_arrays`.
        name: As for `from_arrays`.
        class_names: The names of the classes, by class id; None uses the ids.
        notes: As for `from_arrays`.

    Raises:
        InputError: As for `from_arrays`, or if reading the data fails.
    """
    text = source.text
    splits = {s: check_stream(ds, where=f"{text}: {s}") for s, ds in streams.items()}
    labels = {
        s: _labels_of_source(ds, where=f"{text}: {s}")
        for s, ds in splits.items()
        if isinstance(ds.element_spec, tuple)
    }
    elements: Any = splits["train"].element_spec
    for split, ds in splits.items():
        if ds.element_spec != elements:
            raise InputError(
                f"{text}: {split} must look like train, {elements}. Received: {ds.element_spec}."
            )
    names = class_names_of(labels, splits, class_names, source=text)
    if not labels:
        labels["train"] = np.zeros(int(splits["train"].cardinality()), np.int64)
    for split, share, seed in missing(splits, source):
        train = labels["train"]
        picks = held_out(train, share, seed, what=split, source=text)
        out = np.zeros(len(train), bool)
        out[picks] = True
        splits[split] = select(splits["train"], out)
        splits["train"] = select(splits["train"], ~out)
        labels["train"] = train[~out]
        notes += (note(split, len(picks), len(train), seed),)
    x = elements[0] if isinstance(elements, tuple) else elements
    return Splits(
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        class_names=names,
        input_shape=tuple(x.shape),
        name=name,
        spec=text,
        notes=notes,
    )
