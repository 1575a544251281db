"""The read path: joins the user's examples and the stored records, without Python."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._soft_targets import Targets
from keras_distill.data import (
    Augmentation,
    MemoryDataset,
    Pool,
    epoch_seed,
    mixed_labels,
    read_ahead,
    shuffled,
)
from keras_distill.records import TargetsManifest
from keras_distill.targets import _keys, _layout

_SHUFFLE_BYTES = 1 << 29
_EPOCH, _CHECKED = 0, 1


class EpochState:
    """The state of a data set between iterations: the epoch count, and whether keys were checked.

    The state is an anonymous hash table instead of a `tf.Variable`, because a distribution strategy
    mirrors variables. The table exists as long as the data set that refers to it.
    """

    def __init__(self, first_epoch: int):
        self._table = tf.lookup.experimental.MutableHashTable(
            tf.int64, tf.int64, default_value=0, experimental_is_anonymous=True
        )
        self._set(_EPOCH, first_epoch)

    def _get(self, slot: int) -> tf.Tensor:
        # The table does not declare that it returns a scalar, and later shapes depend on this.
        return tf.ensure_shape(self._table.lookup(tf.constant(slot, tf.int64)), ())

    def _set(self, slot: int, value: Any) -> None:
        self._table.insert(tf.constant(slot, tf.int64), tf.cast(value, tf.int64))

    def begin(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Starts an epoch, in the graph; returns its number and whether to check its examples."""
        epoch = self._get(_EPOCH)
        self._set(_EPOCH, epoch + 1)
        return epoch, tf.equal(self._get(_CHECKED), 0)

    def skip(self, count: int) -> None:
        """Skips a number of epochs, outside the graph."""
        self._set(_EPOCH, self._get(_EPOCH) + count)

    def done(self) -> None:
        """Records, in the graph, that every example was checked."""
        self._set(_CHECKED, 1)


class PeekableDataset(tf.data.Dataset):
    """A `tf.data.Dataset` of batches whose first batch can be read without starting an epoch.

    You can iterate over it, transform it, or pass it to `fit`, like any other data set. All
    transformations except `repeat` return a plain data set, without these methods.

    Args:
        dataset: The batches.
        first: Returns a first batch.
        state: Counts the epochs.

    Attributes:
        batches_per_epoch: The number of batches in one epoch.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        first: Callable[[], Any],
        state: EpochState,
        batches_per_epoch: int,
    ) -> None:
        self._dataset, self._first, self._state = dataset, first, state
        self.batches_per_epoch = batches_per_epoch
        super().__init__(tf.data.experimental.to_variant(dataset))

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._dataset]

    @property
    def element_spec(self) -> Any:
        """The structure, dtypes, and shapes of a batch."""
        return self._dataset.element_spec

    def peek(self) -> Any:
        """Returns the first examples in order as a batch; the next iteration is not affected."""
        return self._first()

    def skip_epochs(self, count: int) -> None:
        """Skips `count` epochs that an earlier session has already trained."""
        self._state.skip(count)

    def repeat(self, count: Any = None, name: str | None = None) -> "PeekableDataset":
        """Returns the data set repeated as `tf.data.Dataset.repeat` does, epoch after epoch."""
        repeated = self._dataset.repeat(count, name)
        return PeekableDataset(repeated, self._first, self._state, self.batches_per_epoch)


def labeled(labels: Any) -> Any:
    """Returns which examples have a label: all but those with the sparse class label -1.

    For data without labels, the result is `()`.

    Args:
        labels: y of one example or of a batch; the result has the shape of a class id.
    """
    if isinstance(labels, tuple) and not labels:
        return labels
    if not isinstance(labels, tf.Tensor) or not labels.dtype.is_integer:
        return tf.ones(tf.shape(tf.nest.flatten(labels)[0])[:1], tf.bool)
    ids = labels[:, 0] if labels.shape.rank == 2 and labels.shape[1] == 1 else labels
    if ids.shape.rank != 1:
        return tf.ones(tf.shape(labels)[:1], tf.bool)
    return (
        tf.not_equal(ids, tf.cast(-1, ids.dtype))
        if ids.dtype.min < 0
        else tf.ones_like(ids, tf.bool)
    )


def buffer_size(spec: Any, examples: int) -> int:
    """Returns the number of examples that fit into 512 MiB, at most all of them."""
    return max(1, min(examples, _SHUFFLE_BYTES // (64 + example_bytes(spec))))


def example_bytes(spec: Any) -> int:
    """Returns the approximate number of bytes that an element needs in memory."""
    size = 0
    for part in tf.nest.flatten(spec):
        width = 64 if part.dtype == tf.string else part.dtype.size
        size += width * (part.shape.num_elements() or 4096)
    return size


class StoreReader:
    """Joins one data set of the user with one store.

    Args:
        folder: The store.
        manifest: Its manifest.
        augment: The augmentation of its views.
        dataset: The user's, unbatched, checked by `_keys.x_spec`.
        first_epoch: Number of the first epoch.
        records: All records in memory, decoded, if the examples are in memory too and their keys
            were compared; else None.
    """

    def __init__(
        self,
        folder: str,
        manifest: TargetsManifest,
        augment: Augmentation | None,
        dataset: tf.data.Dataset,
        first_epoch: int = 0,
        records: Any = None,
    ):
        self._in_memory = records
        self._folder, self._manifest, self._augment = folder, manifest, augment
        self._dataset = dataset
        self._state = EpochState(first_epoch)
        self._guarded = _keys.checked(dataset, self._files(manifest.keys), folder, self._state.done)
        self._pool = None
        if augment is not None and augment.mixes:
            _check_mixed(dataset, manifest)
            self._pool = Pool.of(dataset.enumerate())

    def _files(self, shards: Sequence[Any]) -> list[str]:
        return [f"{self._folder}/{shard.file}" for shard in shards]

    def _records(self, view: tf.Tensor) -> tf.data.Dataset:
        files = self._files(self._manifest.shards)
        per_view = len(files) // self._manifest.views
        names = tf.reshape(tf.constant(files), (self._manifest.views, per_view))[view]
        return _keys.fixed_length(names, self._manifest.record_bytes)

    def _examples(self, check: tf.Tensor) -> tf.data.Dataset:
        """Returns the user's examples, compared with their keys if `check` is true.

        Both data sets are created outside the graph that selects one of them, so an epoch without
        a comparison has no overhead for its preparation.
        """
        to_variant = tf.data.experimental.to_variant
        variant = tf.cond(
            check, lambda: to_variant(self._guarded), lambda: to_variant(self._dataset)
        )
        return tf.data.experimental.from_variant(variant, self._dataset.element_spec)

    def _join(self, view: tf.Tensor, check: tf.Tensor) -> tf.data.Dataset:
        """Returns `(element, record, index)`, one by one."""
        parts = (self._examples(check), self._records(view), tf.data.Dataset.range(2**62))
        return tf.data.Dataset.zip(parts if self._augment else parts[:2])

    def _finish(self, element: tuple, teacher: Any, view: Any, index: Any) -> tuple:
        x, labels, *weight = element
        if self._augment is None:
            return (x, Targets(labels, teacher, labeled(labels)), *weight)
        x, mixing = self._augment.mixed(x, index, view, self._pool)
        if mixing is None or self._pool is None:
            return (x, Targets(labels, teacher, labeled(labels)), *weight)
        rows = mixed_labels(labels, mixing, self._pool, self._manifest.outputs[0].classes)
        return (x, Targets(rows[0], teacher, rows[1]), *weight)

    def batches(
        self, batch_size: int, shuffle: int, seed: int, drop_remainder: bool
    ) -> PeekableDataset:
        """Returns batches of one view per epoch, decoded and augmented a batch at a time."""
        views = self._manifest.views

        @_keys.as_written
        def one_epoch(_: tf.Tensor) -> tf.data.Dataset:
            epoch, check = self._state.begin()
            view = epoch % views
            joined = self._join(view, check)
            if shuffle > 1:
                joined = shuffled(joined, shuffle, epoch_seed(seed, epoch))
            if self._augment is None:
                return joined
            return joined.map(_keys.as_written(lambda *parts: (view, parts)))

        @_keys.as_written
        def finish(*parts: Any) -> tuple:
            view, index = None, None
            if self._augment:
                view, (element, records, index) = parts
            else:
                element, records = parts
            if self._in_memory is None:
                records = _layout.decode(records, self._manifest.outputs)
            return self._finish(element, records, view, index)

        n = self._manifest.examples
        if self._in_memory is None:
            data = tf.data.Dataset.range(1).flat_map(one_epoch)
            data = data.batch(batch_size, drop_remainder=drop_remainder)
        else:
            data = self._gathered(batch_size, shuffle, seed, drop_remainder)
        # Augmentation benefits from more threads; decoding alone does not.
        data = data.map(finish, num_parallel_calls=tf.data.AUTOTUNE if self._augment else None)
        count = n // batch_size if drop_remainder else -(-n // batch_size)
        data = read_ahead(self._with_options(data, count))
        first = lambda: self._first_batch(batch_size, finish)  # noqa: E731
        return PeekableDataset(data, first, self._state, count)

    def _gathered(
        self, batch_size: int, shuffle: int, seed: int, drop_remainder: bool
    ) -> tf.data.Dataset:
        """Returns batches of elements and records like those of `_join`, gathered at once."""

        @_keys.as_written
        def one_epoch(_: tf.Tensor) -> tf.data.Dataset:
            epoch, _ = self._state.begin()
            view = epoch % self._manifest.views
            order = tf.data.Dataset.range(self._manifest.examples)
            if shuffle > 1:
                order = shuffled(order, shuffle, epoch_seed(seed, epoch))
            batches = order.batch(batch_size, drop_remainder=drop_remainder)
            return batches.map(_keys.as_written(lambda index: self._gather(view, index)))

        return tf.data.Dataset.range(1).flat_map(one_epoch)

    def _gather(self, view: tf.Tensor, index: tf.Tensor) -> tuple:
        """Returns the elements and records of these indices."""
        assert isinstance(self._dataset, MemoryDataset)  # else there are no records in memory
        at = view * self._manifest.examples + index
        records = tf.nest.map_structure(lambda all_: tf.gather(all_, at), self._in_memory)
        parts = (self._dataset.gather(index), records)
        return (tf.fill(tf.shape(index), view), (*parts, index)) if self._augment else parts

    def _first_batch(self, batch_size: int, finish: Callable) -> tuple:
        """Returns the first examples in order, of view 0, as a batch; no epoch begins."""
        view = tf.constant(0, tf.int64)
        parts = (self._dataset, self._records(view), tf.data.Dataset.range(2**62))
        if self._in_memory is not None:
            count = min(batch_size, self._manifest.examples or 0)
            return finish(*self._gather(view, tf.range(count, dtype=tf.int64)))
        joined = tf.data.Dataset.zip(parts if self._augment else parts[:2])
        if self._augment:
            joined = joined.map(_keys.as_written(lambda *parts: (view, parts)))
        return next(iter(joined.batch(batch_size).take(1).map(finish)))

    def attach(self) -> tf.data.Dataset:
        """Returns V·n elements one by one, view by view, in the order of the user's data set."""
        views = self._manifest.views

        @_keys.as_written
        def one_view(view: tf.Tensor) -> tf.data.Dataset:
            check = tf.logical_and(self._state.begin()[1], tf.equal(view, 0))
            joined = self._join(view, check).batch(_keys.CHUNK)
            return joined.map(_keys.as_written(lambda *parts: (view, parts)))

        @_keys.as_written
        def finish(view: tf.Tensor, parts: tuple) -> tuple:
            element, records, *index = parts
            teacher = _layout.decode(records, self._manifest.outputs)
            return self._finish(element, teacher, view, index[0] if index else None)

        data = tf.data.Dataset.range(views).flat_map(one_view)
        data = data.map(finish, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
        return self._with_options(data, views * self._manifest.examples)

    def _with_options(self, data: tf.data.Dataset, count: int) -> tf.data.Dataset:
        options = tf.data.Options()
        # Sharding by file would separate examples from their records.
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return data.apply(tf.data.experimental.assert_cardinality(count)).with_options(options)


def _check_mixed(dataset: tf.data.Dataset, manifest: TargetsManifest) -> None:
    """Rejects labels that cannot be mixed.

    Raises:
        InputError: If y is neither a class id nor a row of one value per class.
    """
    y, classes = dataset.element_spec[1], manifest.outputs[0].classes
    known = isinstance(y, tf.TensorSpec) and tuple(y.shape) in ((), (classes,))
    if not known or len(manifest.outputs) > 1:
        raise InputError(
            "A store whose views are mixed (mixup, cutmix) needs y to be a class id, or a row of"
            f" {classes} values. Received: {y}."
        )


def refuse_targets(dataset: tf.data.Dataset) -> None:
    """Rejects data that already contain soft targets.

    Raises:
        InputError: If y is a `Targets`.
    """
    if isinstance(dataset.element_spec[1], Targets):
        raise InputError(
            "`dataset` carries soft targets already: y is a Targets. Pass (x, labels)."
        )
