"""Keys: a hash of every example's x, which detects different or reordered examples."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._graph_errors import insist
from keras_distill._internal._types import Tensor
from keras_distill.data import MemoryDataset
from keras_distill.records import KEY_BYTES

# The batch size for reading keys and records one by one.
CHUNK = 256
_BUFFER_BYTES = 1 << 18
_ROWS = 2048  # number of rows whose keys are computed at once
# AutoGraph is off: no function here has Python control flow on tensors, and it takes seconds.
as_written = tf.autograph.experimental.do_not_convert


def key(x: Any) -> Tensor:
    """Returns the FarmHash64 of one example's x, computed from its dtype, shape, and bytes.

    Args:
        x: A tensor, or a structure of tensors.

    Returns:
        An int64 scalar >= 0.

    Example:
        >>> bool(key(tf.constant([1, 2])) == key(tf.constant([2, 1])))
        False
    """
    parts = [tf.io.serialize_tensor(part) for part in tf.nest.flatten(x)]
    data = parts[0] if len(parts) == 1 else tf.strings.join(parts)
    return tf.strings.to_hash_bucket_fast(data, 2**63 - 1)


def describe(spec: Any, name: str = "x") -> tuple[str, ...]:
    """Returns dtype and shape of each component of a structure, such as `uint8[32,32,3]`.

    Raises:
        InputError: If a component is not a dense tensor.
    """
    found = []
    for part in tf.nest.flatten(spec):
        if not isinstance(part, tf.TensorSpec) or part.shape.rank is None:
            raise InputError(
                f"{name} must be dense tensors of known rank. Received: {part}. Pad what is ragged."
            )
        sizes = ("?" if size is None else str(size) for size in part.shape)
        found.append(f"{part.dtype.name}[{','.join(sizes)}]")
    return tuple(found)


def as_pairs(dataset: Any) -> Any:
    """Converts a data set of only x to `(x, ())`; returns other data sets unchanged.

    Example:
        >>> as_pairs(tf.data.Dataset.from_tensor_slices([[1.0], [2.0]])).element_spec
        (TensorSpec(shape=(1,), dtype=tf.float32, name=None), ())
    """
    if not isinstance(dataset, tf.data.Dataset):
        return dataset
    spec: Any = dataset.element_spec
    if isinstance(spec, tuple) and len(spec) != 1:
        return dataset
    if isinstance(dataset, MemoryDataset):
        x = dataset.tensors
        return MemoryDataset((x[0] if isinstance(spec, tuple) else x, ()))
    return dataset.map(as_written(lambda x: (x, ())))


def x_spec(dataset: Any, name: str = "dataset") -> Any:
    """Returns the element spec of x, after checking that a store can be built from `dataset`.

    Raises:
        InputError: If `dataset` (after `as_pairs`) is not an unbatched, finite `tf.data.Dataset` of
            `(x, y)` or `(x, y, sample_weight)`.
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise InputError(
            f"`{name}` must be a tf.data.Dataset of (x, y), or of x. Received:"
            f" {type(dataset).__name__}."
            " For arrays: tf.data.Dataset.from_tensor_slices((x, y))."
        )
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise InputError(
            f"`{name}` must give (x, y), (x, y, sample_weight), or x alone. Received: {spec}."
            " Where some examples are unlabeled, give them the label -1."
        )
    if int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise InputError(f"`{name}` must be finite. Remove repeat(), or add take(n).")
    for part, what in zip(spec, ("x", "y", "sample_weight"), strict=False):
        describe(part, what)
    parts = [part for component in spec[:2] for part in tf.nest.flatten(component)[:1]]
    if all(isinstance(p, tf.TensorSpec) and p.shape[:1] == [None] for p in parts):
        raise InputError(
            f"`{name}` must be unbatched, its examples of one shape. Received: {spec}."
            " Remove batch(), and pad sequences to one length."
        )
    return spec[0]


def keys_of(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the keys of all examples, in chunks."""
    one = as_written(lambda x, *_: key(x))
    return dataset.map(one, num_parallel_calls=4).batch(CHUNK)


def stacked_keys(x: Any) -> np.ndarray:
    """Returns the keys of examples in memory, int64 `(n,)`, equal to those of `key` but faster.

    Serialized tensors of the same dtype and shape differ only in their last bytes, the values.

    Args:
        x: A tensor `(n, …)`, or a structure of tensors of the same length.

    Example:
        >>> x = tf.constant([[1, 2], [2, 1]])
        >>> stacked_keys(x).tolist() == [int(key(x[0])), int(key(x[1]))]
        True
    """
    parts = [np.ascontiguousarray(np.asarray(part)) for part in tf.nest.flatten(x)]
    count = len(parts[0])
    heads = [_head(part) for part in parts]
    if any(head is None for head in heads):
        rows = tf.data.Dataset.from_tensor_slices((x,))
        return np.concatenate([*keys_of(rows).as_numpy_iterator(), np.zeros(0, np.int64)])
    found: list[np.ndarray] = []
    for start in range(0, count, _ROWS):
        stop = min(start + _ROWS, count)
        columns: list[list[bytes]] = []
        for head, part in zip(heads, parts, strict=True):
            assert head is not None  # checked above
            values, width = part[start:stop].tobytes(), part[0].nbytes
            columns.append(
                [head + values[i * width : (i + 1) * width] for i in range(stop - start)]
            )
        joined = (
            columns[0] if len(columns) == 1 else list(map(b"".join, zip(*columns, strict=True)))
        )
        found.append(tf.strings.to_hash_bucket_fast(tf.constant(joined), 2**63 - 1).numpy())
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _head(part: np.ndarray) -> bytes | None:
    """Returns the bytes of a serialized row before its values; None if it has another layout."""
    if part.dtype.kind not in "biuf" or not part.size:
        return None
    serialized, values = tf.io.serialize_tensor(part[0]).numpy(), part[0].tobytes()
    return serialized[: -len(values)] if serialized.endswith(values) else None


def fixed_length(files: Any, width: int) -> tf.data.Dataset:
    """Returns the records of `width` bytes of some files, as strings.

    This uses the native reader. `tf.data.FixedLengthRecordDataset` adds a `flat_map` over the
    files, which adds about 10 ms to every new iterator.

    Args:
        files: The paths of the files, in order; a list or a string tensor `(n,)`.
        width: Bytes of a record.
    """
    variant = tf.raw_ops.FixedLengthRecordDatasetV2(
        filenames=files,
        header_bytes=tf.constant(0, tf.int64),
        record_bytes=tf.constant(width, tf.int64),
        footer_bytes=tf.constant(0, tf.int64),
        buffer_size=tf.constant(_BUFFER_BYTES, tf.int64),
        compression_type="",
    )
    return tf.data.experimental.from_variant(variant, tf.TensorSpec((), tf.string))


def read_int64(files: Sequence[str]) -> tf.data.Dataset:
    """Returns the int64 values of binary files, one by one."""
    strings = fixed_length(list(files), KEY_BYTES).batch(CHUNK)
    return strings.map(as_written(lambda s: tf.io.decode_raw(s, tf.int64)[:, 0])).unbatch()


def _flagged(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns `(True, element)` for every element, then one `(False, zeros)`."""

    def zeros(spec: tf.TensorSpec) -> Tensor:
        if spec.dtype == tf.string:
            return tf.fill([size or 0 for size in spec.shape], "")
        return tf.zeros([size or 0 for size in spec.shape], spec.dtype)

    end = tf.nest.map_structure(zeros, dataset.element_spec)
    whole = dataset.map(as_written(lambda *element: (True, element)))
    return whole.concatenate(tf.data.Dataset.from_tensors((False, end)))


def checked(
    dataset: tf.data.Dataset,
    files: Sequence[str],
    store: str,
    done: Callable[[], Any],
) -> tf.data.Dataset:
    """Returns the same elements, each compared with its stored key when it is read.

    Args:
        dataset: `(x, y, …)`, unbatched.
        files: The files of keys.
        store: The store's path, for messages.
        done: Called in the graph after all examples were read and their keys and number matched.

    Returns:
        A data set whose iterator raises `tf.errors.InvalidArgumentError`, with the index, at the
        first example that is different, missing, or extra.
    """
    stored = read_int64(files).map(as_written(lambda k: (True, k)))
    stored = stored.concatenate(tf.data.Dataset.from_tensors((False, tf.constant(0, tf.int64))))

    prefix = f"soft-target store {store}:"

    @as_written
    def check(index: Tensor, pair: Any) -> Any:
        (there, element), (expected, expected_key) = pair
        insist(
            tf.logical_or(there, tf.logical_not(expected)),
            prefix, "the data set ends after", index, "examples; the store holds more.",
        )  # fmt: skip
        insist(
            tf.logical_or(expected, tf.logical_not(there)),
            prefix, "the data set has more examples than the", index, "the store holds.",
        )  # fmt: skip
        insist(
            tf.logical_or(tf.equal(key(element[0]), expected_key), tf.logical_not(there)),
            prefix, "example", index, "is not the one stored at this index. Give the data set the"
            " store was built from: same order (no shuffle before the store), same preprocessing,"
            " no random augmentation.",
        )  # fmt: skip
        return there, element

    @as_written
    def not_the_end(there: Tensor, _: Any) -> Tensor:
        # Elements arrive in order here, so all elements before the end were equal.
        return tf.cond(there, lambda: tf.constant(True), lambda: _then_false(done))

    pairs = tf.data.Dataset.zip((_flagged(dataset), stored)).enumerate()
    pairs = pairs.map(check, num_parallel_calls=4)
    return pairs.filter(not_the_end).map(as_written(lambda _, element: element))


def _then_false(done: Callable[[], Any]) -> Tensor:
    done()
    return tf.constant(False)
