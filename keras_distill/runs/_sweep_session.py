"""Runs the jobs of one command of a sweep: teachers, stores, students, and their evaluation."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from keras_distill._internal import InputError, _files
from keras_distill._internal._progress import Reporter
from keras_distill._internal._quantity import number_of
from keras_distill.records import JobRecord, Recipe, SweepRecord
from keras_distill.runs import _sweep_folder as folders
from keras_distill.runs._sweep_folder import SweepFolder
from keras_distill.runs._sweep_plan import (
    WEIGHTS,
    Point,
    digest,
    store_settings,
    student_settings,
    teacher_settings,
)
from keras_distill.runs._sweep_table import Outcome
from keras_distill.runs._trackers import Trackers
from keras_distill.work import Job, JobPool, finished_job, job_failures

_MODULE = "keras_distill.runs._sweep_jobs"
_STACKS = "keras_distill.runs._sweep_stacks"
_STACK = "stack-"  # the prefix of the names of stacks
_LARGEST = 16  # students per stack; limits the memory, and lets several workers share the students


class SweepSession:
    """Runs the jobs of one command.

    Args:
        points: All points of the sweep, with those of earlier commands.
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

    def run(self, earlier: SweepRecord | None, *, stacked: bool) -> Outcome:
        """Makes teachers, stores, and students; evaluates those that are new on the test split.

        Args:
            earlier: The record of earlier commands; None without one.
            stacked: Whether to train small students in stacks.
        """
        teachers = self._teachers()
        stores = self._stores(teachers)
        students, kept = self._students(teachers, stores, stacked=stacked)
        known = {} if earlier is None else _test_accuracies(earlier)
        tested = {name: known[name] for name in kept & set(known)}
        tested |= self._tests(teachers, students, tested)
        return Outcome(teachers, stores, students, tested)

    def save_best(self, record: SweepRecord, students: Mapping[str, JobRecord]) -> None:
        """Writes the best student and the recipe of its point; an equal student is kept."""
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
        self,
        teachers: Mapping[str, JobRecord],
        stores: Mapping[str, JobRecord],
        *,
        stacked: bool,
    ) -> tuple[dict[str, JobRecord], set[str]]:
        """Trains the students whose teacher and store did not fail.

        Returns:
            The records by the name of the job, and the names of the jobs that an earlier command
            completed.
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
        done = {job.name for job in jobs if finished_job(job, self._folder.jobs)}
        stacks = self._stacks(good, done, teachers) if stacked else []
        self._remove_stacks_but({job.name for job in stacks})
        members = {name for job in stacks for name in job.arguments["names"]}
        names = {job.name for job in jobs}
        task, ready = self._reporter.track("students", len(jobs)), set(done)
        task(len(ready))

        def report(record: JobRecord, before: bool) -> None:
            if record.name not in names:
                ready.update(record.result["trained"] if _done(record) else ())
            elif not before:
                ready.add(record.name)
            task(len(ready))

        others = [job for job in jobs if job.name not in members]
        made = self._run([*stacks, *others], report)
        records = self._run(jobs, report)
        self._tell(made, stacks)
        return records, done

    def _stacks(
        self, points: Sequence[Point], done: Collection[str], teachers: Mapping[str, JobRecord]
    ) -> list[Job]:
        """Plans the stacks of the students that are not done.

        The job of each student runs after all stacks; it finds the result of the stack or trains
        the student. A resumed command therefore plans the same stacks, unless all are done.
        """
        groups: dict[tuple[str, int], list[Point]] = {}
        for point in points:
            for seed in point.seeds:
                if point.stack and point.student(seed) not in done:
                    groups.setdefault((point.stack, seed), []).append(point)
        return [
            self._stack(part, seed, teachers)
            for (_, seed), group in groups.items()
            for part in _parts(group, _LARGEST)
            if len(part) > 1
        ]

    def _remove_stacks_but(self, names: Collection[str]) -> None:
        """Removes the unfinished work of all stacks except the given ones."""
        for path in self._folder.students.glob(f"{_STACK}*"):
            if path.name.partition(".")[0] not in names:
                _files.remove(path)

    def _tell(self, records: Mapping[str, JobRecord], stacks: Sequence[Job]) -> None:
        """Reports how many students were trained together, and why others were not."""
        made = [records[job.name] for job in stacks if job.name in records]
        sizes = [len(record.result["trained"]) for record in made if _done(record)]
        if graphs := sum(size > 0 for size in sizes):
            text = f"{sum(sizes)} trained together in {number_of(graphs, 'graph')}"
            self._reporter.stage("students", text)
        errors = [r.result["error"] if _done(r) else r.error for r in made]
        for error in dict.fromkeys(filter(None, errors)):
            self._reporter.stage("students", f"not trained together but each alone: {error}")

    def _stack(self, points: Sequence[Point], seed: int, teachers: Mapping[str, JobRecord]) -> Job:
        names, first = [point.student(seed) for point in points], points[0]
        name = f"{_STACK}{digest(names)}"
        return Job(
            name,
            f"{_STACKS}:train_stack",
            {
                "names": names,
                "seed": seed,
                "fingerprint": _fingerprint(first, teachers),
                **self._common,
            },
            places={
                "recipes": {point.student(seed): _dump(point.recipe) for point in points},
                "trainer": first.trainer,
                "teacher": self._teacher(first),
                "store": self._store(first),
                "students": str(self._folder.students),
                "out": str(self._folder.students / name),
            },
        )

    def _store(self, point: Point) -> str | None:
        return None if point.store is None else str(self._folder.stores / point.store)

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
                "store": self._store(point),
                "out": str(self._folder.students / name),
            },
        )

    def _tests(
        self,
        teachers: Mapping[str, JobRecord],
        students: Mapping[str, JobRecord],
        known: Mapping[str, float],
    ) -> dict[str, float]:
        """Evaluates teachers and students on test data; one job per architecture of students.

        Returns:
            The test accuracies, 0..1, by name.

        Raises:
            InputError: If a job fails.
        """
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
        """Returns a `report` function that shows how many jobs are done."""
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
    """Returns whether the job with the given name is done; True for None."""
    return name is None or (name in records and _done(records[name]))


def _fingerprint(point: Point, teachers: Mapping[str, JobRecord]) -> str | None:
    return None if point.teacher is None else teachers[point.teacher].result["fingerprint"]


def _test_accuracies(record: SweepRecord) -> dict[str, float]:
    """Returns the test accuracies of students by the names of their jobs."""
    return {
        f"{point.name}-s{result.seed}": result.test_accuracy
        for point in record.points
        for result in point.seeds
    }


def _dump(recipe: Recipe) -> dict[str, Any]:
    """Returns the recipe as JSON values."""
    return recipe.model_dump(mode="json", exclude_unset=True, exclude={"sweep"})


def _parts(points: Sequence[Point], largest: int) -> list[Sequence[Point]]:
    """Divides points into as few parts as possible, of about equal size."""
    count = -(-len(points) // largest)
    size = -(-len(points) // count)
    return [points[i : i + size] for i in range(0, len(points), size)]
