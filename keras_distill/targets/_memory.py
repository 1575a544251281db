"""A store's records in memory, for examples that are in memory too."""

import operator
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_distill.data import MemoryDataset
from keras_distill.records import TargetsManifest
from keras_distill.targets import _keys, _layout, _verify

_MOST = 1 << 28  # bytes of records


class RecordsInMemory:
    """The decoded records of a store, read when they are needed first.

    Args:
        path: The store.
        manifest: Its manifest.
    """

    def __init__(self, path: Path, manifest: TargetsManifest) -> None:
        self._path, self._manifest = path, manifest
        self._known: list[list[tf.Tensor]] = []
        self._records: Any = None

    def of(self, dataset: tf.data.Dataset) -> Any:
        """Returns all records, decoded, view by view, after comparing the examples' keys once.

        Args:
            dataset: The data; one that is not in memory has no records in memory.

        Returns:
            What `_layout.decode` returns of all records, or None.

        Raises:
            InputError: If an example is not the one that the store was built from.
        """
        count = self._manifest.views * (self._manifest.examples or 0)
        size = count * self._manifest.record_bytes
        if not isinstance(dataset, MemoryDataset) or size > _MOST:
            return None
        x = tf.nest.flatten(dataset.tensors[0])
        if not any(all(map(operator.is_, x, known)) for known in self._known):
            _verify.compare_keys(self._path, self._manifest, dataset)
            self._known.append(x)
        if self._records is None:
            files = [str(self._path / shard.file) for shard in self._manifest.shards]
            stored = _keys.fixed_length(files, self._manifest.record_bytes).batch(count)
            self._records = _layout.decode(stored.get_single_element(), self._manifest.outputs)
        return self._records
