"""Builds a store shard by shard, each atomically, so that an interrupted build can resume."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, _files, check_batch_size
from keras_distill._internal._progress import Report
from keras_distill.records import KEY_BYTES, TargetsBuild, TargetsManifest, TargetsShard, shard_name
from keras_distill.targets import _info, _keys, _layout, _read
from keras_distill.targets._logits import LogitsSource, outputs_of
from keras_distill.targets._score import TeacherScore
from keras_distill.targets._settings import MANIFEST, BuildSettings, partial_path
from keras_distill.targets._stream import PaddedBatch, keyed_batches, padded, pool_of, whole_files
from keras_distill.work import FolderLock, remove_lock

_SHARD_EXAMPLES = 4096
_SHARD_BYTES = 1 << 26
# The fields that a resumed build must share with the interrupted one.
_SAME = (
    "teacher", "inputs", "outputs", "views", "augment_fingerprint", "batch_size", "shard_examples",
)  # fmt: skip


class StoreBuilder:
    """One build, new or resumed.

    Args:
        source: The teacher.
        dataset: The unbatched data set, checked by `_keys.x_spec`.
        path: The path of the finished store.
        settings: The checked settings.
        report: A function called with the number of finished examples and the total.
    """

    def __init__(
        self,
        source: LogitsSource,
        dataset: tf.data.Dataset,
        path: Path,
        settings: BuildSettings,
        report: Report,
    ):
        self._source, self._dataset, self._path = source, dataset, path
        self._settings, self._report = settings, report
        self._score = TeacherScore()
        self._first: tuple[np.ndarray, dict[str | None, np.ndarray]] | None = None
        self._folder = partial_path(path)
        known = int(dataset.cardinality())
        self._examples = known if known >= 0 else source.length()

    def run(self, *, overwrite: bool, reuse: bool) -> TargetsBuild | None:
        """Builds the store, or resumes its build, and moves it into place.

        Returns the measurements; None if a finished store is kept.

        Args:
            overwrite: Whether to replace another store, finished or not.
            reuse: Whether to keep a finished store with the same manifest.
        """
        if (known := int(self._dataset.cardinality())) >= 0:
            self._check_length(known)
        plan = self._plan()
        self._shard_examples = plan.shard_examples
        finished = reuse and (self._path / MANIFEST).exists()
        if finished and self._is_this(plan, self._path, overwrite):
            return None
        with FolderLock(self._folder) as lock:
            if not self._is_this(plan, self._folder, overwrite):
                lock.clear()
                plan.save(self._folder / MANIFEST)
            lock.clear(keep=lambda name: name == MANIFEST or name.endswith(".bin"))
            try:
                examples = self._settled(plan)
            except BaseException:
                if not any(self._folder.glob("*.bin")):  # there is nothing to resume
                    _files.remove(self._folder)
                raise
            self._finish(plan, examples)
        return self._score.result()

    def _finish(self, plan: TargetsManifest, examples: int) -> None:
        """Writes the complete manifest, and moves the store into place."""
        shards = []
        for view in range(plan.views):
            shards += self._list(plan, f"view{view}", examples, plan.record_bytes)
        keys = self._list(plan, "keys", examples, KEY_BYTES)
        finished = {"examples": examples, "shards": tuple(shards), "keys": tuple(keys)}
        plan.model_copy(update=finished).save(self._folder / MANIFEST, overwrite=True)
        _files.replace_folder(self._folder, self._path)
        remove_lock(self._path)

    def _plan(self) -> TargetsManifest:
        """Returns the manifest of the store to build, from the first batch."""
        s = self._settings
        check_batch_size(s.batch_size, _read.example_bytes(self._dataset.element_spec[0]))
        check_batch_size(s.batch_size, self._source.row_bytes())
        self._pool = pool_of(self._dataset, s.augment)
        self._batches = keyed_batches(
            self._dataset, s.batch_size, augment=s.augment, pool=self._pool
        )
        first = next(padded(self._batches, s.batch_size), None)
        if first is None:
            raise InputError("`dataset` is empty.")
        values = self._source(first.x, 0, first.count)
        self._first = first.keys, values
        outputs = outputs_of(values, s.dtype, s.top_k)
        size = sum(output.payload_bytes for output in outputs) * s.batch_size
        batches = s.shard_batches or max(
            1, min(_SHARD_EXAMPLES // s.batch_size, _SHARD_BYTES // size)
        )
        return TargetsManifest(
            teacher=self._source.describe(),
            inputs=_keys.describe(self._dataset.element_spec[0]),
            outputs=outputs,
            views=s.views,
            augment=s.augment.settings() if s.augment else None,
            augment_fingerprint=s.augment.fingerprint() if s.augment else None,
            batch_size=s.batch_size,
            shard_examples=batches * s.batch_size,
            topk_error=_info.table(list(values.values()), s.top_k) if s.top_k else (),
        )

    def _is_this(self, plan: TargetsManifest, folder: Path, overwrite: bool) -> bool:
        """Returns whether `folder` contains this store, finished or unfinished."""
        if not (folder / MANIFEST).exists():
            return False
        found = TargetsManifest.load(folder / MANIFEST)
        other = [name for name in _SAME if getattr(found, name) != getattr(plan, name)]
        assert self._first is not None  # read for the plan
        stored = self._stored_keys(folder, 0, len(self._first[0]))
        if len(stored) and not np.array_equal(stored, self._first[0]):
            other.append("data")
        if other and not overwrite:
            raise InputError(
                f"{folder} holds another store (other: {', '.join(other)}). Pass overwrite=True"
                " (--overwrite) to replace it."
            )
        return not other

    def _settled(self, plan: TargetsManifest) -> int:
        """Writes the missing shards, view by view; returns the number of examples."""
        examples = self._examples
        for view in range(plan.views):
            found = self._view(plan, view, examples)
            if examples is not None and found != examples:
                raise InputError(
                    f"`dataset` gave {found} examples where {examples} were expected (view {view})."
                )
            examples = found
        self._check_length(examples)
        return examples

    def _check_length(self, examples: int) -> None:
        if self._source.length() not in (None, examples):
            raise InputError(
                f"The teacher's array holds {self._source.length()} rows for {examples} examples."
            )

    def _view(self, plan: TargetsManifest, view: int, examples: int | None) -> int:
        """Writes the missing shards of one view; returns its number of examples."""
        done = self._whole_shards(plan, view)
        over = done % plan.shard_examples > 0
        self._check_same_data(done, over)
        total = None if examples is None else examples * plan.views
        before = view * (examples or 0)
        self._report(before + done, total)
        batches = self._batches
        if done or view:
            batches = keyed_batches(
                self._dataset,
                plan.batch_size,
                skip=done,
                view=view,
                augment=self._settings.augment,
                pool=self._pool,
            )
        stream = padded(batches, plan.batch_size)
        while not over:
            start = done
            for count in self._shard(plan, view, start // plan.shard_examples, stream):
                done += count
                self._report(before + done, total)
            over = done < start + plan.shard_examples
        return done

    def _shard(
        self, plan: TargetsManifest, view: int, number: int, stream: Iterator[PaddedBatch]
    ) -> Iterator[int]:
        """Writes one shard from the next batches; yields the number of examples of each batch."""
        paths = [self._folder / shard_name(f"view{view}", number)]
        if view == 0:
            # Keys are written first: if the records of a shard exist, its keys exist too.
            paths.insert(0, self._folder / shard_name("keys", number))
        with whole_files(*paths) as files:
            start = done = number * plan.shard_examples
            while done < start + plan.shard_examples and (batch := next(stream, None)):
                self._write(plan, view, done, batch, files)
                done += batch.count
                yield batch.count

    def write_shards(
        self, plan: TargetsManifest, view: int, numbers: Iterable[int]
    ) -> dict[str, Any]:
        """Writes the missing ones of some shards of a view; returns the counts of the score.

        The examples of existing shards are compared with their stored keys.

        Args:
            plan: The manifest of the unfinished build.
            view: The view.
            numbers: The numbers of the shards.
        """
        self._shard_examples, size = plan.shard_examples, plan.shard_examples
        self._pool = pool_of(self._dataset, self._settings.augment)
        for number in numbers:
            if (self._folder / shard_name(f"view{view}", number)).exists():
                first = number * size
                for keys in _keys.keys_of(self._dataset.skip(first).take(size)).as_numpy_iterator():
                    self._compare(first, keys)
                    first += len(keys)
                continue
            batches = keyed_batches(
                self._dataset.take((number + 1) * size),
                plan.batch_size,
                skip=number * size,
                view=view,
                augment=self._settings.augment,
                pool=self._pool,
            )
            for _ in self._shard(plan, view, number, padded(batches, plan.batch_size)):
                pass
        return self._score.counts()

    def _write(
        self, plan: TargetsManifest, view: int, first: int, batch: PaddedBatch, files: list
    ) -> None:
        values = self._logits(view, first, batch)
        self._score.add(values, batch.labels, view=view)
        if set(values) != {output.name for output in plan.outputs}:
            raise InputError(
                f"The teacher gave other outputs at example {first}: {sorted(map(str, values))}."
            )
        ordered = [values[output.name] for output in plan.outputs]
        files[-1].write(_layout.encode(ordered, plan.outputs, first))
        if view == 0:
            files[0].write(batch.keys.astype("<i8").tobytes())
        else:
            self._compare(first, batch.keys)

    def _logits(self, view: int, first: int, batch: PaddedBatch) -> dict:
        """Returns the teacher's logits; those of the first batch were computed for the manifest."""
        if view or first or self._first is None:
            return self._source(batch.x, first, batch.count)
        keys, values = self._first
        if not np.array_equal(keys, batch.keys):
            raise InputError(
                "`dataset` gives other examples each time it is read. Build the store from the data"
                " before shuffle() and before any random augmentation."
            )
        return values

    def _whole_shards(self, plan: TargetsManifest, view: int) -> int:
        """Returns the number of examples of a view that are written already."""
        done = 0
        while done % plan.shard_examples == 0:
            path = self._folder / shard_name(f"view{view}", done // plan.shard_examples)
            if not path.exists():
                break
            done += path.stat().st_size // plan.record_bytes
        return done

    def _check_same_data(self, done: int, over: bool) -> None:
        """Compares the examples that are written already with their keys."""
        if not done:
            return
        data = self._dataset if over else self._dataset.take(done)
        keys = _keys.keys_of(data)
        first = 0
        for part in keys.as_numpy_iterator():
            self._compare(first, part)
            first += len(part)
        if first != done:
            raise InputError(
                f"`dataset` has {first} examples; the interrupted build in {self._folder} has"
                f" {done}."
            )

    def _compare(self, first: int, keys: np.ndarray) -> None:
        stored = self._stored_keys(self._folder, first, len(keys))
        if not np.array_equal(stored, keys):
            shared = min(len(stored), len(keys))
            wrong = np.flatnonzero(stored[:shared] != keys[:shared])
            index = first + (int(wrong[0]) if len(wrong) else shared)
            raise InputError(
                f"Example {index} of `dataset` is not what it was when the build in {self._folder}"
                " started. Give the same data in the same order, or remove that folder to start"
                " again."
            )

    def _stored_keys(self, folder: Path, first: int, count: int) -> np.ndarray:
        """Returns the keys of examples first … first+count, which may be in several files."""
        size, found = self._shard_examples, []
        while count > 0:
            path = folder / shard_name("keys", first // size)
            if not path.exists():
                break
            part = np.fromfile(path, "<i8")[first % size : first % size + count]
            if not len(part):
                break
            found.append(part)
            first, count = first + len(part), count - len(part)
        return np.concatenate(found) if found else np.zeros(0, "<i8")

    def _list(
        self, plan: TargetsManifest, kind: str, examples: int, width: int
    ) -> list[TargetsShard]:
        """Returns the files of one kind with their checksums."""
        found = []
        for number in range(-(-examples // plan.shard_examples)):
            path = self._folder / shard_name(kind, number)
            count = min(plan.shard_examples, examples - number * plan.shard_examples)
            if path.stat().st_size != count * width:
                raise InputError(
                    f"{path} has {path.stat().st_size} bytes for {count} records of {width}."
                    " Remove that folder to start again."
                )
            found.append(
                TargetsShard(
                    file=path.name, examples=count, bytes=count * width, sha256=_files.sha256(path)
                )
            )
        return found
