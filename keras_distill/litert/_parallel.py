"""Runs a `.tflite` file in several threads, each with its own interpreter.

An interpreter with several threads splits the work of each operator, which slows down small models.
Here the rows are split instead. LiteRT releases the global interpreter lock while it computes, so
the threads run in parallel. Each row is computed as by a single interpreter, so the results are
identical.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from keras_distill._internal import check_count
from keras_distill._internal._checks import MAX_THREADS
from keras_distill._internal._types import Array
from keras_distill.litert._interpreter import DYNAMIC_BATCH, LiteRTModel

_MOST = 8  # threads by default, because each has its own weights and arena


def usable_threads(threads: int | None) -> int:
    """Returns the number of threads to use.

    Args:
        threads: The number of threads. If None, one per core available to this process, at most 8.

    Raises:
        InputError: If `threads` is not a whole number in 1..1024.

    Example:
        >>> usable_threads(3)
        3
    """
    if threads is not None:
        return check_count("threads", threads, at_most=MAX_THREADS)
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # the function does not exist on every system
        cores = os.cpu_count() or 1
    return min(cores, _MOST)


class ParallelModel:
    """Runs the rows of each call on several loaded copies of a `.tflite` file in parallel.

    Args:
        load: A function that loads one copy.
        threads: The maximum number of copies; see `usable_threads`. All copies but the first are
            loaded when a call has enough rows for them.

    Attributes:
        first: The first copy, for everything except `predict`.
    """

    def __init__(self, load: Callable[[], LiteRTModel], *, threads: int | None = None) -> None:
        self._load, self._threads = load, usable_threads(threads)
        self.first = load()
        self._models = [self.first]

    def predict(self, x: Any) -> Array | dict[str, Array]:
        """Runs the file on all of `x`, as `LiteRTModel.predict` does."""
        named = isinstance(x, Mapping)
        arrays = {k: np.asarray(a) for k, a in x.items()} if named else {"": np.asarray(x)}
        rows = max((len(a) for a in arrays.values() if a.ndim), default=0)
        size = self.first._batch or DYNAMIC_BATCH
        count = min(self._threads, -(-rows // size))
        if count <= 1:
            return self.first.predict(x)
        while len(self._models) < count:
            self._models.append(self._load())
        # Each share consists of whole batches, so that the batches are the same as without threads.
        share = size * -(-rows // (size * count))
        parts: list[Any] = []
        for start in range(0, rows, share):
            part = {name: a[start : start + share] for name, a in arrays.items()}
            parts.append(part if named else part[""])
        with ThreadPoolExecutor(len(parts)) as pool:
            found = list(pool.map(LiteRTModel.predict, self._models, parts))
        outputs = [part if isinstance(part, dict) else {"": part} for part in found]
        joined = {name: np.concatenate([part[name] for part in outputs]) for name in outputs[0]}
        return joined if isinstance(found[0], dict) else joined[""]
