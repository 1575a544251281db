"""Measures latency. The models run alternately, so that load affects all equally."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_distill import models as keras_models
from keras_distill._internal import _stats, bad, check_batch_size, check_count
from keras_distill._internal._checks import MAX_BATCH, MAX_THREADS
from keras_distill.litert import IsolatedModel
from keras_distill.records import LatencyRecord, RatioRecord

_WARM_UP = 3
_SECONDS = 900.0  # time limit of one request to a worker


class Timing(NamedTuple):
    """The latency of one model.

    Attributes:
        records: One record per number of threads.
        peak_memory_bytes: See `SizeRecord`; measured with the first number of threads.
    """

    records: tuple[LatencyRecord, ...]
    peak_memory_bytes: int | None


class _KerasCalls:
    """A Keras model in this process, called through `tf.function` as in a deployment."""

    def __init__(self, model: keras.Model, x: Any) -> None:
        self._call = tf.function(lambda rows: model(rows, training=False))
        self._all, self._most = x, keras_models.rows_at_once(model, MAX_BATCH)
        self._rows = self._take(1)

    def _take(self, count: int) -> Any:
        return keras.tree.map_structure(
            lambda a: tf.convert_to_tensor(np.resize(a, (count, *a.shape[1:]))), self._all
        )

    def cold_start(self, x: Any) -> tuple[None, None]:
        return None, None

    def time_call(self, calls: int = 1) -> list[float]:
        self._call(self._rows)
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            self._call(self._rows)
            seconds.append(time.perf_counter() - start)
        return seconds

    def resize_batch(self, size: int) -> bool:
        fits = size <= self._most
        if fits:
            self._rows = self._take(size)
        return fits

    def close(self) -> None:
        """Does nothing, because there is no child process."""


def measure_latency(
    models: Mapping[str, str | os.PathLike | keras.Model],
    x: Any,
    *,
    threads: Sequence[int] = (1,),
    runs: int = 50,
    batch_size: int = 32,
) -> dict[str, Timing]:
    """Times every model on the same row: `runs` rounds with one call of each model.

    A `.tflite` file runs in its own process, which times its own calls. An untimed call before each
    timed call warms the caches. Ratios are ratios of medians, relative to the first model of the
    same runtime, with a bootstrap interval over the rounds.

    Args:
        models: Models by name: `.tflite` files, and Keras models. A Keras model runs through
            `tf.function`, with the first number of threads only, and with TensorFlow's own thread
            settings.
        x: Input rows: an array, or a dict by input name. A single array is passed to the single
            input of every model, whatever its name.
        threads: Numbers of interpreter threads.
        runs: Timed calls per model, >= 2.
        batch_size: Rows per call in the batched measurement.

    Raises:
        InputError: If an argument is not valid, or a file cannot be run.
    """
    check_settings(threads, runs, batch_size)
    if isinstance(x, Mapping) and len(x) == 1:
        x = next(iter(x.values()))
    check_batch_size(batch_size, sum(np.asarray(a[:1]).nbytes for a in keras.tree.flatten(x)))
    records: dict[str, list[LatencyRecord]] = {name: [] for name in models}
    memory: dict[str, int | None] = dict.fromkeys(models)
    for place, count in enumerate(threads):
        chosen = {
            name: model
            for name, model in models.items()
            if place == 0 or not isinstance(model, keras.Model)
        }
        for name, (record, peak) in _measure(chosen, x, count, runs, batch_size).items():
            records[name].append(record)
            memory[name] = peak if place == 0 else memory[name]
    return {name: Timing(tuple(records[name]), memory[name]) for name in models}


def check_settings(threads: Sequence[int], runs: int, batch_size: int) -> None:
    """Checks the settings of `measure_latency`.

    Raises:
        InputError: If a setting is not valid.
    """
    check_count("runs", runs, at_least=2)
    check_batch_size(batch_size)
    if not threads:
        raise bad("threads", "hold one or more counts", threads)
    for count in threads:
        check_count("threads", count, at_most=MAX_THREADS)


def _measure(
    models: Mapping[str, Any], x: Any, threads: int, runs: int, batch_size: int
) -> dict[str, tuple[LatencyRecord, int | None]]:
    with ExitStack() as stack:
        subjects = {}
        for name, model in models.items():
            if isinstance(model, keras.Model):
                subjects[name] = _KerasCalls(model, x)
            else:
                subjects[name] = IsolatedModel(model, threads=threads, timeout=_SECONDS)
                stack.callback(subjects[name].close)
        cold = {name: subject.cold_start(x) for name, subject in subjects.items()}
        single = _rounds(subjects, runs)
        batched = {n: s for n, s in subjects.items() if s.resize_batch(batch_size)}
        many = _rounds(batched, max(2, runs // 5))
    found = {}
    for name, model in models.items():
        first = _first_of_kind(models, model)
        ratio = None
        if name != first:
            interval = _stats.ratio_of_medians(single[name], single[first])
            ratio = RatioRecord(**interval._asdict(), reference=first)
        in_keras = isinstance(model, keras.Model)
        record = _record(
            single[name],
            many.get(name),
            threads=os.cpu_count() or 1 if in_keras else threads,
            cold=cold[name][0],
            batch_size=batch_size,
            ratio=ratio,
        )
        found[name] = (record, cold[name][1])
    return found


def _rounds(subjects: Mapping[str, Any], runs: int) -> dict[str, list[float]]:
    for subject in subjects.values():
        subject.time_call(_WARM_UP)
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(runs):
        for name, subject in subjects.items():
            seconds[name] += subject.time_call()
    return seconds


def _first_of_kind(models: Mapping[str, Any], model: Any) -> str:
    kind = isinstance(model, keras.Model)
    return next(name for name, m in models.items() if isinstance(m, keras.Model) == kind)


def _record(
    single: list[float],
    many: list[float] | None,
    *,
    threads: int,
    cold: float | None,
    batch_size: int,
    ratio: RatioRecord | None,
) -> LatencyRecord:
    median, p90, p99 = (float(np.percentile(single, q)) for q in (50, 90, 99))
    return LatencyRecord(
        threads=threads,
        runs=len(single),
        cold_start_ms=None if cold is None else 1000 * cold,
        median_ms=1000 * median,
        p90_ms=1000 * p90,
        p99_ms=1000 * p99,
        throughput=1 / float(np.mean(single)),
        batch_size=batch_size,
        batched_throughput=None if many is None else batch_size / float(np.mean(many)),
        ratio=ratio,
    )
