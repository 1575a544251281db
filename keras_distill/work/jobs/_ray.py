"""Runs jobs on Ray, whose workers run one job after another."""

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from keras_distill._internal import InputError, KerasDistillWarning
from keras_distill.work.jobs._in_turn import Killed, Start, Task, execute_logged

_STARTS = 3


@contextlib.contextmanager
def on_ray(workers: int, threads: int, environment: dict[str, str]) -> Iterator[Start]:
    """Yields a function that starts a task on Ray.

    The tasks run on the cluster that Ray is connected to or finds. If there is none, a local
    cluster is started, which runs until the block ends.

    Args:
        workers: The number of tasks that run at a time.
        threads: The number of cores per task.
        environment: Environment variables for the workers.

    Raises:
        InputError: If RAY_ADDRESS names a cluster that cannot be reached.
    """
    import ray  # pyright: ignore[reportMissingImports]
    from ray.exceptions import RayError  # pyright: ignore[reportMissingImports]

    here = not ray.is_initialized()
    if here:
        os.environ.setdefault("RAY_DISABLE_IMPORT_WARNING", "1")
        try:
            ray.init(address="auto", log_to_driver=False)
        except ConnectionError as error:
            _check_no_cluster_was_named(error)
            start_local_ray(workers * threads)
    # Workers of an existing cluster have the environment of the cluster, not of this process.
    tracking = {name: v for name, v in os.environ.items() if name.startswith("MLFLOW_")}
    variables = {**environment, **tracking, "PYTHONPATH": os.pathsep.join(sys.path)}
    remote = ray.remote(
        num_cpus=threads,
        max_retries=0,
        runtime_env={"env_vars": variables},
    )(execute_logged)

    def start(task: Task, log: Path) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()

        def collect() -> None:
            try:
                future.set_result(ray.get(reference))
            except RayError as error:
                text = log.read_text(errors="replace") if log.exists() else ""
                future.set_exception(Killed(f"its Ray worker died ({type(error).__name__})", text))

        reference = remote.remote(task, str(log.resolve()))
        threading.Thread(target=collect, daemon=True).start()
        return future

    try:
        yield start
    finally:
        if here:
            ray.shutdown()


def _check_no_cluster_was_named(error: ConnectionError) -> None:
    """Handles a failed connection to a cluster before a local cluster is started instead.

    If Ray itself has found traces of a cluster that cannot be reached, a warning is issued.

    Args:
        error: The error of the connection.

    Raises:
        InputError: If RAY_ADDRESS names a cluster.
    """
    if address := os.environ.get("RAY_ADDRESS"):
        reason = " ".join(str(error.__cause__ or error).split())
        raise InputError(
            f"Cannot connect to the Ray cluster of RAY_ADDRESS={address} ({reason:.200}). Check"
            " that it runs, and set RAY_AUTH_MODE=token if it has token authentication; or unset"
            " RAY_ADDRESS to use a local cluster."
        ) from error
    if error.__cause__ is not None:  # otherwise there is no cluster
        warnings.warn(
            f"{error}: a local Ray cluster is used. `ray stop` removes what a cluster that has"
            " crashed left behind.",
            KerasDistillWarning,
            stacklevel=2,
        )


def start_local_ray(cores: int) -> None:
    """Starts a Ray cluster on this machine.

    Ray waits 30 seconds for its own start and then fails. On a busy machine that may not be enough,
    so the start is tried up to three times.

    Args:
        cores: The number of cores that the cluster may use.
    """
    import ray  # pyright: ignore[reportMissingImports]

    for attempt in range(_STARTS):
        try:
            ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False)
            return
        except Exception as error:
            ray.shutdown()
            # Ray raises a bare Exception here, which only its message distinguishes from others.
            if attempt == _STARTS - 1 or "timed out during startup" not in str(error):
                raise
