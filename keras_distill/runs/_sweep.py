"""Trains a sweep: many students that share teachers, as independent jobs."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keras_distill import report
from keras_distill._internal import _files, check_choice
from keras_distill._internal._progress import Reporter
from keras_distill.records import Recipe, SweepRecord
from keras_distill.runs import _sweep_folder as folders
from keras_distill.runs._sweep_folder import SweepFolder
from keras_distill.runs._sweep_plan import (
    base_settings,
    plan,
)
from keras_distill.runs._sweep_session import SweepSession
from keras_distill.runs._sweep_table import sweep_csv, sweep_record, varied_keys
from keras_distill.runs._trackers import Trackers
from keras_distill.work import JobPool


def sweep(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    backend: str = "in-turn",
    workers: int = 1,
    threads: int | None = None,
    scale: str = "full",
    stacked: bool = True,
    overwrite: bool = False,
    imports: Sequence[str] = (),
    reporter: Reporter | None = None,
    tensorboard: str | os.PathLike[str] | None = None,
    mlflow: str | None = None,
) -> SweepRecord:
    """Trains a student for every point and seed of a sweep, or only the missing students.

    Points with the same settings for the teacher share one teacher and one store of its logits.
    Every student, or stack of students, is an independent job. A failed job does not affect the
    others, and an interrupted sweep loses at most one epoch of the students in training. If it is
    called again on a finished sweep with other points or more seeds, it trains only what is missing
    and reports all points.

    The best point is chosen by validation accuracy. The test split is read once, after all
    trainings.

    Args:
        recipe: The recipe, with the points in `[sweep]`.
        out: The folder for `sweep.json`, `sweep.csv`, `report.html`, the best student, and the
            trained models.
        backend: How the students are trained: in-turn, processes, or ray. See `work.JobPool`.
        workers: Number of jobs at the same time.
        threads: TensorFlow threads in each process of `processes` and `ray`. If None, the number of
            cores divided by `workers`. Results are byte-identical for equal numbers of threads.
        scale: `full`, or `smoke` for two steps of everything.
        stacked: Whether to train small students that have the same seed and differ only in alpha
            and temperature together in one graph, up to 16 in a stack. Small students are networks
            of dense layers with at most 120,000 parameters. They must use the default loss, and no
            schedules of alpha or temperature, generations, mixup, cutmix, `clip_norm`, early
            stopping, time budget, or mixed precision. Except for the rounding of sums, the results
            equal those of separate trainings. Students logged by TensorBoard or MLflow are trained
            separately.
        overwrite: Whether to discard the contents of `out`, such as an existing sweep.
        imports: Modules that register custom layers of the `.keras` files named in the recipe.
        reporter: Receives the progress.
        tensorboard: A TensorBoard folder for the scalars and settings of every training.
        mlflow: The name of an MLflow experiment, in which every training is a run.

    Returns:
        The record, also saved as `out/sweep.json`. Failed trainings are in `failures` of a point.

    Raises:
        InputError: If the recipe has no points or cannot be run, or `out` is not such a folder.
        MissingExtraError: If TensorBoard or MLflow is requested but not installed.
    """
    check_choice("scale", scale, ("full", "smoke"))
    reporter = reporter or Reporter()
    since = time.monotonic()
    trackers = Trackers.of(tensorboard, mlflow)
    stacked = stacked and tensorboard is None and mlflow is None
    plan(recipe, scale)  # a mistake in a point must not cost a training
    with (
        _sharing(backend, reporter),
        SweepFolder(out, base_settings(recipe, scale), overwrite=overwrite) as folder,
        JobPool(backend, workers, threads=threads) as pool,
    ):
        points = plan(recipe, scale, _earlier(folder.earlier))
        trackers = trackers.within("", varied_keys(recipe, folder.earlier))
        session = SweepSession(points, folder, pool, scale, tuple(imports), reporter, trackers)
        outcome = session.run(folder.earlier, stacked=stacked)
        before = folder.earlier.seconds if folder.earlier is not None else 0.0
        record = sweep_record(
            recipe,
            scale,
            points,
            outcome,
            folder.earlier,
            started=folder.started,
            seconds=before + time.monotonic() - since,
        )
        session.save_best(record, outcome.students)
        _write(record, folder)
    return record


@contextlib.contextmanager
def _sharing(backend: str, reporter: Reporter) -> Iterator[None]:
    """Shows the progress of jobs in this process, and releases the shared data at the end.

    The data on disk may change between two sweeps.
    """
    if backend != "in-turn":
        yield
        return
    from keras_distill.runs._sweep_kept import KEPT

    KEPT.reporter = reporter
    try:
        yield
    finally:
        KEPT.clear()
        KEPT.reporter = Reporter()


def _earlier(record: SweepRecord | None) -> list[tuple[Mapping[str, Any], tuple[int, ...]]]:
    """Returns the points of earlier commands with the seeds that were trained or failed."""
    if record is None:
        return []
    return [
        (point.values, tuple(sorted({*(r.seed for r in point.seeds), *map(int, point.failures)})))
        for point in record.points
        if not point.is_reference
    ]


def _write(record: SweepRecord, folder: SweepFolder) -> None:
    """Writes the results. The record is last: it shows that the other files are complete."""
    path = folder.path
    record.recipe.save(path / folders.RECIPE, overwrite=True)
    _files.write_text(path / folders.TABLE, sweep_csv(record), overwrite=True)
    _files.write_text(path / folders.PAGE, report.render_sweep(record), overwrite=True)
    record.save(path / folders.RECORD, overwrite=True)
