"""The end of a run: everything judged on the test split, once, and written down."""

import os
from dataclasses import dataclass
from pathlib import Path

from keras_distill import metrics
from keras_distill._internal import _machine
from keras_distill._internal._stats import mean_interval, paired_difference
from keras_distill.benchmarks import benchmark
from keras_distill.records._benchmark import BenchmarkRecord
from keras_distill.records._export import ExportSet
from keras_distill.records._run import (
    CompressResult,
    DataFacts,
    IntervalRecord,
    RunRecord,
    SeedResult,
    TeacherFacts,
    VariantResult,
)
from keras_distill.runs import _compress
from keras_distill.runs._context import Inputs
from keras_distill.runs._folder import RunFolder
from keras_distill.runs._teacher import Taught
from keras_distill.runs._variants import Variant, curve_of
from keras_distill.work import Progress, Rounds


@dataclass(frozen=True)
class Made:
    """What was made of the chosen student.

    Attributes:
        seed: The seed it was chosen by.
        exports: Its files.
        compressed: What came of compressing it; None where nobody asked.
    """

    seed: int
    exports: ExportSet
    compressed: CompressResult | None = None

    @property
    def files(self) -> list[str]:
        """All files, as paths in the run's folder."""
        files = [export.file for export in self.exports.exports.values()]
        if self.compressed is not None and self.compressed.record is not None:
            files.append(f"{_compress.FOLDER}/{self.compressed.record.export.file}")
        return files


def judge(
    inputs: Inputs,
    taught: Taught,
    ways: list[Variant],
    done: dict[str, dict[int, Progress]],
    rounds: Rounds,
    made: Made,
    folder: RunFolder,
    scale: str,
) -> RunRecord:
    """Looks at the test split and returns the record of the run.

    Args:
        inputs: What the run worked on.
        taught: Its teacher.
        ways: The variants, trained.
        done: The logs by variant and seed.
        rounds: How the students were trained.
        made: What was made of the chosen student.
        folder: The run's folder.
        scale: `full` or `smoke`.
    """
    results = tuple(
        _variant(variant, done[variant.name], inputs, rounds, folder) for variant in ways
    )
    by_name = {result.name: _tests(result) for result in results}
    return RunRecord(
        recipe=inputs.recipe,
        scale=scale,
        versions=_machine.versions(),
        machine=_machine.describe(),
        started=folder.started,
        seconds=folder.seconds,
        data=_data(inputs),
        teacher=_teacher(taught, inputs),
        variants=results,
        gain=IntervalRecord.of(paired_difference(by_name["distilled"], by_name["alone"])),
        chosen_seed=made.seed,
        exports=made.exports,
        compress=made.compressed,
        benchmark=_benchmark(inputs, taught, made, folder),
    )


def _tests(variant: VariantResult) -> list[float]:
    return [seed.test_accuracy for seed in variant.seeds]


def _variant(
    variant: Variant, done: dict[int, Progress], inputs: Inputs, rounds: Rounds, folder: RunFolder
) -> VariantResult:
    labels = inputs.labels("test")
    seeds = []
    for seed, progress in done.items():
        student = variant.restore(seed, folder.work)
        logits = student.predict(inputs.evaluation("test").map(lambda x, y: x), verbose=0)
        seeds.append(
            SeedResult(
                seed=seed,
                validation_accuracy=progress.logs["val_accuracy"][-1],
                test_accuracy=metrics.accuracy(logits, labels),
                seconds=progress.seconds,
                curve=curve_of(progress, rounds),
            )
        )
    return VariantResult(
        name=variant.name,
        title=variant.title,
        labels=variant.labels,
        parameters=variant.student.count_params(),
        steps=rounds.count * rounds.steps_per_round,
        seeds=tuple(seeds),
        test_accuracy=IntervalRecord.of(mean_interval([s.test_accuracy for s in seeds])),
    )


def _data(inputs: Inputs) -> DataFacts:
    splits = inputs.splits
    return DataFacts(
        source=inputs.recipe.data.source,
        **splits.sizes,
        labels_kept=inputs.labels_kept,
        class_names=splits.class_names,
        input_shape=splits.input_shape,
        notes=splits.notes,
    )


def _teacher(taught: Taught, inputs: Inputs) -> TeacherFacts:
    return TeacherFacts(
        model=inputs.recipe.teacher.model,
        parameters=None if taught.model is None else taught.model.count_params(),
        validation_accuracy=taught.accuracy(inputs, "validation"),
        test_accuracy=taught.accuracy(inputs, "test"),
        curve=taught.curve,
        fingerprint=taught.teacher.fingerprint(),
    )


def _benchmark(inputs: Inputs, taught: Taught, made: Made, folder: RunFolder) -> BenchmarkRecord:
    """Teacher and files side by side; the teacher is measured as `.tflite` too.

    Files are recorded by name: the folder is still to be moved into its place.
    """
    measured = benchmark(
        {
            "teacher": taught.path if taught.model is None else taught.model,
            **{file: folder.path / file for file in made.files},
        },
        inputs.splits,
        runs=inputs.recipe.benchmark.runs,
        in_keras=False,
    )

    def here(file: str | None) -> str | None:
        return None if file is None else Path(os.path.relpath(file, folder.path)).as_posix()

    entries = (e.model_copy(update={"file": here(e.file)}) for e in measured.entries)
    return measured.model_copy(update={"entries": tuple(entries)})
