"""Measures what a sweep of 16 points costs beyond 16 plain trainings and one pass of the teacher.

    python examples/studies/sweep-cost/study.py small --data-dir DIR
    python examples/studies/sweep-cost/study.py large --data-dir DIR
    python examples/studies/sweep-cost/study.py workers --data-dir DIR

`small` and `large`, two students, time the sweep between two halves of the plain trainings, and
`small` also the stacked sweep;
`workers` times one worker between two sweeps of two workers. Each writes a record to `--records`.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import keras_distill  # noqa: F401 (before TensorFlow: it turns oneDNN on)

# isort: split
import keras
import numpy as np
import stacked  # in this folder

from keras_distill import data, models, runs
from keras_distill.records import ClassifierSettings, Recipe
from keras_distill.training import compile_classifier, rounds_of

RECORDS = Path(__file__).parent / "records"
SOURCE, TEACHER = "tfds:mnist", "mlp:256x256"
SMALL, LARGE = ("mlp:64", 4, 128), ("mlp:800x800", 1, 256)  # student, epochs, batch size
GRID = {
    "distillation.temperature": [1.0, 2.0, 4.0, 8.0],
    "distillation.alpha": [0.3, 0.6, 0.9, 1.0],
}
POINTS = 16


class Study:
    """The sweep, and the plain trainings of the same student.

    Args:
        data_dir: Folder of prepared TFDS data sets.
        student: Its spec.
        epochs: Its epochs.
        batch_size: Its batch size.
        folder: For the results.
    """

    def __init__(self, data_dir, student, epochs, batch_size, folder):
        self.data_dir, self.student, self.folder, self.sweeps = data_dir, student, folder, 0
        self.settings = ClassifierSettings(epochs=epochs, batch_size=batch_size)
        self.teacher = folder / "teacher.keras"
        splits = data.load(SOURCE, data_dir=data_dir)
        self.statistics = data.statistics(splits.train)
        self.shape, self.size = splits.input_shape, splits.sizes["train"]
        teacher = self.build(TEACHER)
        compile_classifier(teacher, self.settings, rounds_of(self.settings, self.size))
        batches = data.batches(splits.train, 128, shuffle_seed=0, epoch=0)
        teacher.fit(batches, epochs=1, verbose=0)
        teacher.save(self.teacher)

    def build(self, spec):
        return models.build(
            spec, input_shape=self.shape, num_classes=10, rescale=self.statistics, seed=0
        )

    def plain(self, count):
        """Trains `count` students one after the other, each built and compiled by itself.

        Returns the times of the trainings, and of the teacher's pass over the training data.
        """
        splits = data.load(SOURCE, data_dir=self.data_dir)
        rounds, batch_size = rounds_of(self.settings, self.size), self.settings.batch_size
        validation = data.batches(splits.validation, 256)
        start = _now()
        for seed in range(count):
            student = self.build(self.student)
            compile_classifier(student, self.settings, rounds)
            student.fit(
                data.batches(splits.train, batch_size, shuffle_seed=seed, epoch=0, epochs=None),
                epochs=rounds.count,
                steps_per_epoch=rounds.steps_per_round,
                validation_data=validation,
                shuffle=False,
                verbose=0,
            )
        trained = _now()
        keras.models.load_model(self.teacher).predict(splits.train.batch(128), verbose=0)
        return trained - start, _now() - trained

    def sweep(self, **backend):
        """Returns the times of a whole sweep, from reading the data to the page; its record."""
        self.sweeps += 1
        recipe = Recipe.parse(
            {
                "name": "cost",
                "seeds": 1,
                "data": {"source": SOURCE, "data_dir": str(self.data_dir)},
                "teacher": {"model": str(self.teacher)},
                "student": {"model": self.student},
                "training": self.settings.model_dump(exclude_unset=True),
                "sweep": {"grid": GRID, "reference": "none"},
            },
            source="the study",
        )
        start = _now()
        record = runs.sweep(recipe, self.folder / f"sweep{self.sweeps}", **backend)
        assert sum(len(point.seeds) for point in record.points) == POINTS
        return _now() - start, record


def cost(study):
    """Measures a sweep, and a stacked one, between two halves of the plain trainings."""
    first, passed = study.plain(POINTS // 2)
    swept, record = study.sweep(stacked=False)
    small = study.student == SMALL[0]
    found = {"stacked": list(study.sweep()[0])} if small else {}
    second, again = study.plain(POINTS // 2)
    fits = sum(r.seconds for point in record.points for r in point.seeds)
    return {
        **found,
        "plain": [list(first), list(second)],
        "teacher_pass": [list(passed), list(again)],
        "sweep": list(swept),
        "fit_seconds": fits,
    }


def workers(study):
    """Measures a sweep by one worker between two by two workers."""
    two, _ = study.sweep(backend="processes", workers=2, stacked=False)
    one, _ = study.sweep(stacked=False)
    again, _ = study.sweep(backend="processes", workers=2, stacked=False)
    tables = {(study.folder / f"sweep{i}" / "sweep.csv").read_bytes() for i in (1, 3)}
    assert len(tables) == 1
    return {"one": list(one), "two": [list(two), list(again)]}


def _now():
    """Wall time, and processor time of this process and of its children that have ended."""
    return np.array([time.perf_counter(), sum(os.times()[:4])])


def readme_tables(folder):
    """Returns the tables of the README, from the records."""
    tables = {"small": _cost_table, "large": _cost_table, "workers": _workers_table}
    tables["stacked"] = stacked.table
    return [
        table(json.loads(path.read_text()))
        if (path := folder / f"{name}.json").exists()
        else "Not measured yet.\n"
        for name, table in tables.items()
    ]


def _ratios(record, sweep="sweep"):
    """A sweep's wall time and processor time, of the trainings and the teacher's pass."""
    plain, passed = np.sum(record["plain"], axis=0), np.mean(record["teacher_pass"], axis=0)
    return np.array(record[sweep]) / (plain + passed)


def _workers_ratio(record):
    return np.mean(record["two"], axis=0)[0] / record["one"][0]


def _cost_table(record):
    plain, passed = np.sum(record["plain"], axis=0), np.mean(record["teacher_pass"], axis=0)
    rows = [
        (
            f"16 plain trainings of `{record['student']}`, {record['epochs']} epochs",
            *map(_s, plain),
        ),
        ("one pass of the teacher", *map(_s, passed)),
        (
            "the sweep: teacher, store, 16 students each alone, test, page",
            *map(_s, record["sweep"]),
        ),
        ("of that, inside `fit`", _s(record["fit_seconds"]), ""),
        ("the sweep / (trainings + pass), target at most 1.03", *map(_ratio, _ratios(record))),
    ]
    if "stacked" in record:
        rows += [
            ("the sweep as it is, with stacked students", *map(_s, record["stacked"])),
            (
                "the stacked sweep / (trainings + pass), target at most 1.03",
                *map(_ratio, _ratios(record, "stacked")),
            ),
        ]
    return _table(("", "wall time, s", "processor time, s"), rows)


def _workers_table(record):
    rows = [
        ("one worker, 2 threads", _s(record["one"][0])),
        ("two workers, 1 thread each, two turns", ", ".join(_s(t[0]) for t in record["two"])),
        ("two workers / one, target at most 0.65", f"**{_workers_ratio(record):.2f}**"),
    ]
    return _table(("", "wall time, s"), rows)


def _ratio(value):
    return f"**{value:.2f}**"


def _s(seconds):
    return f"{seconds:.1f}"


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


MEASURES = {"small": (cost, SMALL), "large": (cost, LARGE), "workers": (workers, SMALL)}


def main():
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=tuple(MEASURES))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--records", type=Path, default=RECORDS)
    given = parser.parse_args()
    measure, (student, epochs, batch_size) = MEASURES[given.part]
    folder = Path(tempfile.mkdtemp(prefix="sweep-cost-"))
    try:
        measured = measure(Study(given.data_dir, student, epochs, batch_size, folder))
    finally:
        shutil.rmtree(folder)
    about = {"student": student, "epochs": epochs, "batch_size": batch_size}
    text = json.dumps({**about, "cores": os.cpu_count(), **measured}, indent=2)
    given.records.mkdir(parents=True, exist_ok=True)
    (given.records / f"{given.part}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
