"""Builds a store by several processes: shards are independent, so each writes a range of them."""

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

from keras_distill._internal import InputError, _files, check_count
from keras_distill._internal._progress import Report, reporting
from keras_distill.data import Augmentation
from keras_distill.records import JobRecord, TargetsManifest
from keras_distill.targets._build import StoreBuilder
from keras_distill.targets._logits import LogitsSource
from keras_distill.targets._settings import (
    MANIFEST,
    BuildSettings,
    build_settings,
    checked_target,
    partial_path,
)
from keras_distill.targets._sources import StoreSource, opened
from keras_distill.targets._store import SoftTargetStore
from keras_distill.work import Job, JobPool, job_failures

_JOBS = "jobs"
_RANGES = 4  # per worker, so that a slow one does not hold up the others for long


def build_store(
    source: StoreSource,
    path: str | os.PathLike,
    *,
    backend: str = "in-turn",
    workers: int = 1,
    threads: int | None = None,
    top_k: int | None = None,
    views: int = 1,
    augment: Augmentation | None = None,
    batch_size: int = 128,
    dtype: str = "float16",
    shard_batches: int | None = None,
    overwrite: bool = False,
    progress: bool | Report | None = None,
) -> SoftTargetStore:
    """Builds a store of a teacher and data that are named by text, by several processes.

    Each worker opens teacher and data itself and writes its own shards. The result is
    byte-identical to that of `SoftTargetStore.build` if the teacher's logits do not depend on the
    number of threads. A shard whose worker was killed is written again.

    Args:
        source: Names teacher and data.
        path: The folder to create. With Ray on several machines, all of them must see it, and the
            files of the source.
        backend: in-turn, processes, or ray; see `work.JobPool`, as for the next two.
        workers: How many write at a time.
        threads: Threads of TensorFlow, and of `.tflite` files unless the source says otherwise, in
            each process; None: the machine's cores divided by `workers`.
        top_k, views, augment, batch_size, dtype, shard_batches, overwrite, progress: See
            `SoftTargetStore.build`.

    Returns:
        The store, opened.

    Raises:
        InputError: As `SoftTargetStore.build`, or if a part could not be built.
    """
    settings = build_settings(top_k, dtype, views, augment, batch_size, shard_batches)
    path = checked_target(path, overwrite)
    if source.threads is None:
        each = threads or max(1, (os.cpu_count() or 1) // check_count("workers", workers))
        source = dataclasses.replace(source, threads=each)
    with (
        JobPool(backend, workers, threads=threads) as pool,
        reporting("soft targets", progress) as report,
    ):
        builder = ParallelBuilder(source, path, settings, report, pool, workers)
        measured = builder.run(overwrite=overwrite, reuse=False)
    store = SoftTargetStore.open(path)
    store.built = measured
    return store


class ParallelBuilder(StoreBuilder):
    """A build whose shards are written by the jobs of a pool.

    Args:
        source: Names teacher and data.
        path: The path of the finished store. With Ray on several machines, all of them see it.
        settings: The checked settings.
        report: Called with the examples done and their total.
        pool: Runs the jobs.
        workers: How many run at a time.
    """

    def __init__(
        self,
        source: StoreSource,
        path: Path,
        settings: BuildSettings,
        report: Report,
        pool: JobPool,
        workers: int,
    ) -> None:
        teacher, dataset = source.open()
        logits = LogitsSource(teacher, source.from_probabilities)
        super().__init__(logits, dataset, path, settings, report)
        self._named, self._pool_of_jobs, self._workers = source, pool, workers
        if self._examples is None:
            raise InputError(
                "`--workers` needs data of known size, so that each worker reads its own range."
                f" Received: {source.data}, whose size is not known. Build with one worker."
            )

    def _settled(self, plan: TargetsManifest) -> int:
        """Writes the missing shards, view by view; returns the number of examples."""
        examples = self._examples
        assert examples is not None  # checked in the constructor
        shards = math.ceil(examples / plan.shard_examples)
        size = max(1, math.ceil(shards / (_RANGES * self._workers)))
        ranges = [(first, min(first + size, shards)) for first in range(0, shards, size)]
        done = 0

        def report(record: JobRecord, kept: bool) -> None:
            nonlocal done
            done += 1
            share = done / (len(ranges) * plan.views)
            self._report(int(share * examples * plan.views), examples * plan.views)

        for view in range(plan.views):  # the first view writes the keys that others are compared to
            jobs = [self._job(view, first, last) for first, last in ranges]
            records = self._pool_of_jobs.run(jobs, self._folder / _JOBS, report=report)
            if failed := job_failures(records):
                raise InputError(
                    f"{len(failed)} of {len(jobs)} parts of the store failed; the others are kept."
                    f" Run the same command again to resume. {failed[0]}"
                )
            for record in records:
                self._score.merge(record.result)
        _files.remove(self._folder / _JOBS)
        for path in self._folder.glob("*.tmp"):  # of workers that were killed
            _files.remove(path)
        return examples

    def _job(self, view: int, first: int, last: int) -> Job:
        settings = self._settings
        augment = settings.augment
        return Job(
            f"view{view}-{first:05d}",
            "keras_distill.targets._parallel:write_shards",
            {
                "source": self._named.values(),
                "settings": {
                    **settings._asdict(),
                    "augment": None if augment is None else augment.settings(),
                },
                "view": view,
                "first": first,
                "last": last,
            },
            places={"path": str(self._path.resolve())},
        )


def write_shards(
    *,
    source: dict[str, Any],
    settings: dict[str, Any],
    view: int,
    first: int,
    last: int,
    path: str,
) -> dict[str, Any]:
    """Writes those of the shards first … last - 1 of an unfinished store that are missing.

    Returns the counts of its `TeacherScore`.

    Args:
        source: The values of a `StoreSource`.
        settings: The fields of the `BuildSettings`; the augmentation as its settings.
        view: The view.
        first: Number of the first shard.
        last: Number of the shard after the last.
        path: The path of the finished store.
    """
    augment = settings["augment"]
    if augment is not None:
        settings = {**settings, "augment": Augmentation.from_settings(augment)}
    named = StoreSource.of(source)
    teacher, dataset = opened(named)
    logits = LogitsSource(teacher, named.from_probabilities)
    builder = StoreBuilder(
        logits, dataset, Path(path), BuildSettings(**settings), lambda done, total: None
    )
    plan = TargetsManifest.load(partial_path(Path(path)) / MANIFEST)
    return builder.write_shards(plan, view, range(first, last))
