"""A sweep: many students that share teachers, trained as independent jobs."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from keras_distill import report
from keras_distill._internal import InputError, _files, check_choice
from keras_distill._internal._progress import Reporter
from keras_distill._internal._quantity import number_of
from keras_distill.records import JobRecord, Recipe, SweepRecord
from keras_distill.runs import _sweep_folder as folders
from keras_distill.runs._sweep_folder import SweepFolder
from keras_distill.runs._sweep_plan import (
    WEIGHTS,
    Point,
    base_settings,
    digest,
    plan,
    store_settings,
    student_settings,
    teacher_settings,
)
from keras_distill.runs._sweep_table import Outcome, sweep_csv, sweep_record, varied_keys
from keras_distill.runs._trackers import Trackers
from keras_distill.work import Job, JobPool, job_failures

_MODULE = "keras_distill.runs._sweep_jobs"


def sweep(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    backend: str = "in-turn",
    workers: int = 1,
    threads: int | None = None,
    scale: str = "full",
    overwrite: bool = False,
    imports: Sequence[str] = (),
    reporter: Reporter | None = None,
    tensorboard: str | os.PathLike[str] | None = None,
    mlflow: str | None = None,
) -> SweepRecord:
    """Trains a student for every point and seed of a sweep, or those that are missing.

    Points that differ in nothing that a teacher sees share one teacher and one store of its logits.
    Every student is an independent job: a failure does not affect the others, and an interrupted
    sweep loses at most one epoch of the students in training. Called again on a finished sweep with
    other points or more seeds, it trains only what is missing and reports all of them.

    Validation accuracy chooses the best point. The test split is read once, when everything is
    trained.

    Args:
        recipe: The recipe, with the points in `[sweep]`.
        out: The folder: `sweep.json`, `sweep.csv`, `report.html`, the best student, and what was
            trained.
        backend: How the students are trained: in-turn, processes, or ray. See `work.JobPool`.
        workers: Number of students trained at a time.
        threads: Threads of TensorFlow in each process of `processes` and `ray`; None: the machine's
            cores divided by `workers`. Results are byte-identical where they are equal.
        scale: `full`, or `smoke` for two steps of everything.
        overwrite: Whether to discard a sweep that exists at `out`.
        imports: Modules that register custom layers of the `.keras` files named in the recipe.
        reporter: Receives the progress.
        tensorboard: A folder for the scalars and settings of every training, for TensorBoard.
        mlflow: The name of an experiment of MLflow, in which every training is a run.

    Returns:
        The record, also saved as `out/sweep.json`. Failed trainings are in `failures` of a point.

    Raises:
        InputError: If the recipe has no points or cannot be run, or `out` holds something else.
        MissingExtraError: If TensorBoard or MLflow is asked for and not installed.
    """
    check_choice("scale", scale, ("full", "smoke"))
    reporter = reporter or Reporter()
    since = time.monotonic()
    trackers = Trackers.of(tensorboard, mlflow)
    plan(recipe, scale)  # a mistake in a point must not cost a training
    with (
        _sharing(backend),
        SweepFolder(out, base_settings(recipe, scale), overwrite=overwrite) as folder,
        JobPool(backend, workers, threads=threads) as pool,
    ):
        points = plan(recipe, scale, _earlier(folder.earlier))
        trackers = trackers.within("", varied_keys(recipe, folder.earlier))
        session = _Session(points, folder, pool, scale, tuple(imports), reporter, trackers)
        outcome = session.run(folder.earlier)
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
def _sharing(backend: str) -> Iterator[None]:
    """Frees at the end what jobs in this process shared: data on disk may change afterwards."""
    try:
        yield
    finally:
        if backend == "in-turn":
            from keras_distill.runs._sweep_kept import KEPT

            KEPT.clear()


def _earlier(record: SweepRecord | None) -> list[tuple[Mapping[str, Any], tuple[int, ...]]]:
    """Returns the points of earlier commands and their seeds; they are trained or failed."""
    if record is None:
        return []
    return [
        (point.values, tuple(sorted({*(r.seed for r in point.seeds), *map(int, point.failures)})))
        for point in record.points
        if not point.is_reference
    ]


class _Session:
    """The jobs of one command.

    Args:
        points: What the sweep holds when it is finished.
        folder: The locked folder.
        pool: Runs the jobs.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.
        reporter: Receives the progress.
        trackers: Log the trainings.
    """

    def __init__(
        self,
        points: Sequence[Point],
        folder: SweepFolder,
        pool: JobPool,
        scale: str,
        imports: tuple[str, ...],
        reporter: Reporter,
        trackers: Trackers,
    ) -> None:
        self._points, self._folder, self._pool = points, folder, pool
        self._common = {"scale": scale, "imports": list(imports)}
        self._reporter, self._trackers = reporter, trackers

    def run(self, earlier: SweepRecord | None) -> Outcome:
        """Makes teachers, stores, and students; evaluates what no earlier command did.

        Args:
            earlier: The record of earlier commands.
        """
        teachers = self._teachers()
        stores = self._stores(teachers)
        students, kept = self._students(teachers, stores)
        known = {} if earlier is None else _test_accuracies(earlier)
        tested = {name: known[name] for name in kept & set(known)}
        tested |= self._tests(teachers, students, tested)
        return Outcome(teachers, stores, students, tested)

    def save_best(self, record: SweepRecord, students: Mapping[str, JobRecord]) -> None:
        """Writes the best student, and the recipe of its point, unless they are there already."""
        best = next((point for point in self._points if point.name == record.best), None)
        if best is None or record.best_seed is None:
            return
        name, file = best.student(record.best_seed), self._folder.path / folders.STUDENT
        job = Job(
            "best",
            f"{_MODULE}:save_student",
            {"checksum": students[name].result["weights_sha256"], **self._common},
            places={
                "weights": str(self._folder.students / name / WEIGHTS),
                "recipe": _dump(best.recipe),
                "out": str(file),
            },
        )
        if not file.exists():
            _files.remove(self._folder.jobs / job.name)
        self._run([job])
        best.recipe.save(self._folder.path / folders.BEST, overwrite=True)

    def _run(
        self, jobs: Sequence[Job], report: Callable[[JobRecord, bool], None] = lambda r, k: None
    ) -> dict[str, JobRecord]:
        records = self._pool.run(jobs, self._folder.jobs, report=report)
        return {record.name: record for record in records}

    def _trackers_of(self, group: str) -> dict[str, Any]:
        return self._trackers.within(group, self._trackers.keys).values()

    def _teachers(self) -> dict[str, JobRecord]:
        needed = {point.teacher: point.recipe for point in self._points if point.teacher}
        jobs = [
            Job(
                name,
                f"{_MODULE}:make_teacher",
                {"settings": teacher_settings(recipe), **self._common},
                places={
                    "recipe": _dump(recipe),
                    "trackers": self._trackers_of(name),
                    "out": str(self._folder.teachers / name),
                },
            )
            for name, recipe in needed.items()
        ]
        models = ", ".join(dict.fromkeys(str(recipe.teacher) for recipe in needed.values()))
        count = f"{len(jobs)} teachers: " if len(jobs) > 1 else ""
        self._reporter.stage("teacher", f"{count}{models}")
        return self._run(jobs, self._counter("teachers", len(jobs)))

    def _stores(self, teachers: Mapping[str, JobRecord]) -> dict[str, JobRecord]:
        needed = {p.store: p for p in self._points if p.store and _ready(p.teacher, teachers)}
        jobs = [
            Job(
                name,
                f"{_MODULE}:make_store",
                {
                    "settings": store_settings(point.recipe),
                    "fingerprint": _fingerprint(point, teachers),
                    **self._common,
                },
                places={
                    "teacher": self._teacher(point),
                    "recipe": _dump(point.recipe),
                    "out": str(self._folder.stores / name),
                },
            )
            for name, point in needed.items()
        ]
        self._reporter.stage("targets", f"{len(jobs)} store{'s' if len(jobs) != 1 else ''}")
        return self._run(jobs, self._counter("stores", len(jobs)))

    def _teacher(self, point: Point) -> str | None:
        return None if point.teacher is None else str(self._folder.teachers / point.teacher)

    def _students(
        self, teachers: Mapping[str, JobRecord], stores: Mapping[str, JobRecord]
    ) -> tuple[dict[str, JobRecord], set[str]]:
        """Trains the students of every teacher and store that did not fail.

        Returns:
            The records, and the names of the jobs that an earlier command completed.
        """
        good = [
            point
            for point in self._points
            if _ready(point.teacher, teachers) and _ready(point.store, stores)
        ]
        order = {key: i for i, key in enumerate(dict.fromkeys(p.trainer for p in good))}
        good.sort(key=lambda point: order[point.trainer])
        jobs = [self._student(point, seed, teachers) for point in good for seed in point.seeds]
        text = f"{number_of(len(good), 'point')}, {number_of(len(jobs), 'training')}"
        self._reporter.stage("students", text)
        kept, count = set[str](), self._counter("students", len(jobs))

        def report(record: JobRecord, before: bool) -> None:
            kept.update([record.name] if before else [])
            count(record, before)

        return self._run(jobs, report), kept

    def _student(self, point: Point, seed: int, teachers: Mapping[str, JobRecord]) -> Job:
        name = point.student(seed)
        return Job(
            name,
            f"{_MODULE}:train_student",
            {
                "settings": student_settings(point.recipe, point.variant),
                "seed": seed,
                "fingerprint": _fingerprint(point, teachers),
                "variant": point.variant,
                **self._common,
            },
            places={
                "recipe": _dump(point.recipe),
                "trainer": point.trainer,
                "trackers": self._trackers_of(point.name),
                "teacher": self._teacher(point),
                "store": None if point.store is None else str(self._folder.stores / point.store),
                "out": str(self._folder.students / name),
            },
        )

    def _tests(
        self,
        teachers: Mapping[str, JobRecord],
        students: Mapping[str, JobRecord],
        known: Mapping[str, float],
    ) -> dict[str, float]:
        """Evaluates on test data; students of one architecture in one job."""
        groups: dict[str, list[tuple[str, Recipe, str]]] = {}
        for point in self._points:
            for record in (students.get(point.student(seed)) for seed in point.seeds):
                if record is not None and _done(record) and record.name not in known:
                    values = _dump(point.recipe)
                    data = {**values["data"], "labels": None}
                    key = digest([data, values["student"], point.recipe.training.batch_size])
                    entry = (record.name, point.recipe, record.result["weights_sha256"])
                    groups.setdefault(key, []).append(entry)
        jobs = [self._test_job(entries) for entries in groups.values()]
        recipes = {point.teacher: point.recipe for point in self._points if point.teacher}
        jobs += [
            self._teacher_test_job(name, recipes[name], record)
            for name, record in teachers.items()
            if _done(record)
        ]
        self._reporter.stage("test", "teachers and students on the test split, once")
        records = self._run(jobs).values()
        if failed := job_failures(list(records)):
            raise InputError(f"The test split cannot be evaluated: {'; '.join(failed)}")
        return {name: value for record in records for name, value in record.result.items()}

    def _test_job(self, entries: Sequence[tuple[str, Recipe, str]]) -> Job:
        checksums = {name: checksum for name, _, checksum in entries}
        return Job(
            f"test-{digest(checksums)}",
            f"{_MODULE}:evaluate_students",
            {"checksums": checksums, **self._common},
            places={
                "weights": {n: str(self._folder.students / n / WEIGHTS) for n in checksums},
                "recipe": _dump(entries[0][1]),
            },
        )

    def _teacher_test_job(self, name: str, recipe: Recipe, record: JobRecord) -> Job:
        return Job(
            f"test-{name}",
            f"{_MODULE}:evaluate_teacher",
            {"name": name, "fingerprint": record.result["fingerprint"], **self._common},
            places={
                "teacher": str(self._folder.teachers / name),
                "recipe": _dump(recipe),
            },
        )

    def _counter(self, name: str, total: int) -> Callable[[JobRecord, bool], None]:
        """Returns the `report` of jobs that shows how many are done."""
        task, done = self._reporter.track(name, total), 0

        def count(record: JobRecord, kept: bool) -> None:
            nonlocal done
            done += 1
            task(done)

        task(0)
        return count


def _done(record: JobRecord) -> bool:
    return record.status == "done"


def _ready(name: str | None, records: Mapping[str, JobRecord]) -> bool:
    """Returns whether the job of that name, if there is one, is done."""
    return name is None or (name in records and _done(records[name]))


def _fingerprint(point: Point, teachers: Mapping[str, JobRecord]) -> str | None:
    return None if point.teacher is None else teachers[point.teacher].result["fingerprint"]


def _test_accuracies(record: SweepRecord) -> dict[str, float]:
    """Returns the test accuracies of students by the name of their job."""
    return {
        f"{point.name}-s{result.seed}": result.test_accuracy
        for point in record.points
        for result in point.seeds
    }


def _dump(recipe: Recipe) -> dict[str, Any]:
    """Returns the recipe as JSON values."""
    return recipe.model_dump(mode="json", exclude_unset=True, exclude={"sweep"})


def _write(record: SweepRecord, folder: SweepFolder) -> None:
    """Writes the results; the record last, which says that the others are complete."""
    path = folder.path
    record.recipe.save(path / folders.RECIPE, overwrite=True)
    _files.write_text(path / folders.TABLE, sweep_csv(record), overwrite=True)
    _files.write_text(path / folders.PAGE, report.render_sweep(record), overwrite=True)
    record.save(path / folders.RECORD, overwrite=True)
