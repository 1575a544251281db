"""Builds stores in child processes: killed at random moments, or measured for peak memory.

Run as a script, it is the child: `python store_processes.py kill FOLDER KILLS EXAMPLES SEED`.
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_distill import InputError, SoftTargetStore

_CLASSES, _WIDTH = 100, 16


class Kills(NamedTuple):
    """Outcome of builds that were killed.

    Attributes:
        killed: Number of builds killed before they ended, then resumed.
        same: How many of these are byte-identical to an uninterrupted build.
        resumed: How many of these found finished examples.
        seconds: Duration of the uninterrupted build.
    """

    killed: int
    same: int
    resumed: int
    seconds: float


def killed_builds(folder: Path, kills: int, *, examples: int = 6000, seed: int = 0) -> Kills:
    """Kills builds with SIGKILL at random moments, resumes them, and compares all bytes.

    Runs in a child that imports TensorFlow once and forks each build before TensorFlow starts any
    thread.

    Args:
        folder: Folder for the stores; must be empty or new.
        kills: Number of builds to kill.
        examples: Examples per store.
        seed: Seed of the random moments.

    Raises:
        InputError: If the child fails.
    """
    return Kills(**_child("kill", str(folder), str(kills), str(examples), str(seed)))


def writer_memory(folder: Path, examples: int) -> float:
    """Returns the peak memory, in MiB, of a process that builds a store of 100 classes.

    Args:
        folder: Folder for the store; must be empty or new.
        examples: Number of examples.

    Raises:
        InputError: If the child fails.
    """
    return _child("weigh", str(folder), str(examples))


def _child(*arguments: str):
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise InputError(f"The child process that builds the store failed: {last[0]}")
    return json.loads(done.stdout.splitlines()[-1])


def _examples(count: int) -> tf.data.Dataset:
    """A stream of `count` distinct x of 16 numbers, generated as they are read."""

    def one(i: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.cast(i, tf.float32) + tf.range(_WIDTH, dtype=tf.float32) / _WIDTH
        return x, tf.constant(0, tf.int64)

    data = tf.data.Dataset.range(count).map(one)
    return data.apply(tf.data.experimental.assert_cardinality(count))


def _teacher(pause: float) -> Callable[[np.ndarray], np.ndarray]:
    weights = np.random.default_rng(0).normal(size=(_WIDTH, _CLASSES)).astype(np.float32)

    def answer(x: np.ndarray) -> np.ndarray:
        time.sleep(pause)
        return np.sin(x) @ weights

    return answer


def _build(path: Path, examples: int, pause: float = 0.0, progress=False) -> None:
    SoftTargetStore.build(
        _teacher(pause),
        _examples(examples),
        path,
        batch_size=100,
        shard_batches=5,
        progress=progress,
    )


def _forked(path: Path, examples: int, kill_after: float | None) -> tuple[bool, float, int]:
    """Builds in a fork, optionally killed; returns (finished, seconds, examples found done)."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        reported = []

        def first(done: int, _: int | None) -> None:
            if not reported:
                reported.append(done)
                os.write(write, f"{done}\n".encode())

        try:
            _build(path, examples, pause=0.005, progress=first)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as pipe:
        done = int(pipe.readline() or -1)
        begun = time.perf_counter()
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if status and os.WTERMSIG(status) != signal.SIGKILL:
        raise SystemExit(f"A build failed with status {status}.")
    return status == 0, time.perf_counter() - begun, done


def _contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def _kill(folder: Path, kills: int, examples: int, seed: int) -> dict:
    draw = random.Random(seed)
    _, seconds, _ = _forked(folder / "whole", examples, None)
    whole = _contents(folder / "whole")
    found = {"killed": 0, "same": 0, "resumed": 0, "seconds": seconds}
    while found["killed"] < kills:
        path = folder / "killed"
        ended, _, _ = _forked(path, examples, draw.uniform(0, seconds))
        if not ended:
            _, _, done = _forked(path, examples, None)
            found["killed"] += 1
            found["resumed"] += done > 0
            found["same"] += _contents(path) == whole
        shutil.rmtree(path)
    return found


def _weigh(folder: Path, examples: int) -> float:
    _build(folder / "store", examples)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    what, where, *numbers = sys.argv[1:]
    result = {"kill": _kill, "weigh": _weigh}[what](Path(where), *map(int, numbers))
    print(json.dumps(result))
