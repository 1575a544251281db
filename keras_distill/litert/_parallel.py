"""Runs a `.tflite` file in several threads, each with its own interpreter.

An interpreter with several threads splits each operator, which costs small networks more than it
saves. Here the rows are split. LiteRT lets other threads run while it computes, and every row is
computed as by one interpreter, so the results are identical.
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

_MOST = 8  # threads by default: each has weights and an arena of its own


def usable_threads(threads: int | None) -> int:
    """Returns the number of threads: as given, or one for each core of this process, at most 8.

    Raises:
        InputError: If it is not a whole number >= 1.

    Example:
        >>> usable_threads(3)
        3
    """
    if threads is not None:
        return check_count("threads", threads, at_most=MAX_THREADS)
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    return min(cores, _MOST)


class ParallelModel:
    """Loaded copies of a `.tflite` file that share the rows of each call.

    Args:
        load: Loads one copy.
        threads: The number of copies, see `usable_threads`. All but the first are loaded when a
            call has rows for them.

    Attributes:
        first: The first copy, for everything but running the file.
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
        # Each share is of whole batches, so that a row is in the same batch as without threads.
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
