"""Last stage of a run: evaluates all models and files once on the test split."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill import data, metrics, report
from keras_distill._internal import _machine
from keras_distill._internal._stats import mean_interval, paired_difference
from keras_distill.benchmarks import benchmark
from keras_distill.litert import predict_isolated
from keras_distill.records import (
    BenchmarkRecord,
    CompressResult,
    Curve,
    DataFacts,
    ExploreRecord,
    ExportSet,
    IntervalRecord,
    RunRecord,
    SeedResult,
    ShrinkRecord,
    TeacherFacts,
    VariantResult,
)
from keras_distill.runs._assistants import Assistant
from keras_distill.runs._compress import COMPRESSED
from keras_distill.runs._context import RunContext
from keras_distill.runs._explore import explore
from keras_distill.runs._students import Students
from keras_distill.runs._teacher import RunTeacher
from keras_distill.runs._variants import Variant


def evaluate(
    context: RunContext,
    teacher: RunTeacher | None,
    assistants: list[Assistant],
    students: Students,
    exports: ExportSet,
    compressed: CompressResult | None,
    shrink: ShrinkRecord | None = None,
) -> tuple[RunRecord, ExploreRecord | None]:
    """Evaluates teacher, students, and files on the test split.

    Returns:
        The record of the run, and the record of the models' outputs on the test split, which is
        None if the models are not classifiers with one output.
    """
    labels = data.labels_of(context.splits.test)
    outputs: dict[str, np.ndarray] = {}
    if teacher is not None:
        outputs["teacher"] = logits_of(teacher.teacher.predict, context.test)
    variants = []
    for variant in students.variants:
        result, outputs[variant.lesson.name] = _variant(variant, students, context.test, labels)
        variants.append(result)
    tests = {v.name: [seed.test_accuracy for seed in v.seeds] for v in variants}
    files = [export.file for export in exports.exports.values()]
    if compressed is not None and compressed.file is not None:
        files.append(f"{COMPRESSED}/{compressed.file}")
    record = RunRecord(
        recipe=context.recipe,
        scale=context.scale,
        versions=_machine.versions(),
        machine=_machine.describe(),
        started=context.folder.started,
        data=_data(context),
        teacher=_teacher(context, teacher, outputs.get("teacher"), labels),
        assistants=tuple(_assistant(context, part, labels) for part in assistants),
        variants=tuple(variants),
        chosen_seed=students.chosen_seed,
        exports=exports,
        compress=compressed,
        shrink=shrink,
        benchmark=_benchmark(context, teacher, files),
        gain=None
        if "alone" not in tests
        else IntervalRecord.of(paired_difference(tests["distilled"], tests["alone"])),
        seconds=context.folder.seconds,
    )
    return record, explore(context.splits, _explored(context, record, outputs), labels)


def _explored(
    context: RunContext, record: RunRecord, outputs: Mapping[str, np.ndarray]
) -> dict[str, tuple[str, np.ndarray]]:
    """Returns the titles and logits of the models that the report compares, by name."""
    found: dict[str, tuple[str, np.ndarray]] = {}
    if "teacher" in outputs:
        found["teacher"] = (f"teacher {record.teacher.model}", outputs["teacher"])
    for variant in record.variants:
        if variant.name in ("alone", "distilled"):
            found[variant.name] = (variant.title, outputs[variant.name])
    file = report.headline_file(record)
    if file is not None:
        x = np.concatenate([x for x, _ in context.test.as_numpy_iterator()])
        logits = predict_isolated(context.folder.path / file, x, threads=os.cpu_count() or 1)
        if not isinstance(logits, dict):
            found["file"] = (file, logits)
    return found


def logits_of(predict: Callable[[Any], np.ndarray], batches: tf.data.Dataset) -> np.ndarray:
    return np.concatenate([predict(x) for x, _ in batches.as_numpy_iterator()])


def _variant(
    variant: Variant, students: Students, test: tf.data.Dataset, labels: np.ndarray
) -> tuple[VariantResult, np.ndarray]:
    """Evaluates the students of all seeds; also returns the logits for the chosen seed."""
    seeds, chosen = [], np.empty(0)
    for seed, progress in variant.done.items():
        logits = logits_of(variant.restore(seed).predict_on_batch, test)
        chosen = logits if seed == students.chosen_seed else chosen
        seeds.append(
            SeedResult(
                seed=seed,
                validation_accuracy=progress.kept("val_accuracy"),
                test_accuracy=metrics.accuracy(logits, labels),
                seconds=progress.seconds,
                curve=Curve.of(progress.logs, variant.rounds.epochs_per_round),
            )
        )
    result = VariantResult(
        name=variant.lesson.name,
        title=variant.lesson.title,
        labels=variant.lesson.labels,
        parameters=variant.student.count_params(),
        steps=variant.steps,
        seeds=tuple(seeds),
        test_accuracy=IntervalRecord.of(mean_interval([s.test_accuracy for s in seeds])),
    )
    return result, chosen


def _data(context: RunContext) -> DataFacts:
    splits = context.splits
    return DataFacts(
        source=context.recipe.data.source,
        **splits.sizes,
        labels_kept=context.student_data.labels_kept,
        class_names=splits.class_names,
        input_shape=splits.input_shape,
        notes=splits.notes + context.student_data.notes,
    )


def _assistant(context: RunContext, part: Assistant, labels: np.ndarray) -> TeacherFacts:
    return TeacherFacts(
        model=part.spec,
        parameters=part.model.count_params(),
        validation_accuracy=part.validation_accuracy,
        test_accuracy=metrics.accuracy(
            logits_of(part.model.predict_on_batch, context.test), labels
        ),
        curve=part.curve,
        fingerprint=part.teacher.fingerprint(),
    )


def _teacher(
    context: RunContext,
    teacher: RunTeacher | None,
    outputs: np.ndarray | None,
    test_labels: np.ndarray,
) -> TeacherFacts:
    if teacher is None or outputs is None:
        assert context.store is not None  # then no teacher runs
        return TeacherFacts(
            model=str(context.recipe.teacher),
            parameters=None,
            validation_accuracy=None,
            test_accuracy=None,
            curve=None,
            fingerprint=context.store.manifest.teacher.fingerprint,
        )
    labels = data.labels_of(context.splits.validation)
    validation = logits_of(teacher.teacher.predict, context.validation)
    return TeacherFacts(
        model=str(context.recipe.teacher),
        parameters=teacher.parameters,
        validation_accuracy=metrics.accuracy(validation, labels),
        test_accuracy=metrics.accuracy(outputs, test_labels),
        curve=teacher.curve,
        fingerprint=teacher.teacher.fingerprint(),
    )


def _benchmark(
    context: RunContext, teacher: RunTeacher | None, files: list[str]
) -> BenchmarkRecord:
    """Measures the files and, if the teacher is one model, the teacher as a `.tflite` file.

    Paths are recorded relative to the run's folder, because it is not at its final place yet.
    """
    context.reporter.stage("benchmark", "teacher against student, on the test split")
    folder, measured = context.folder.path, None if teacher is None else teacher.measured
    found = benchmark(
        {
            **({} if measured is None else {"teacher": measured}),
            **{file: folder / file for file in files},
        },
        context.splits,
        runs=context.recipe.benchmark.runs,
        in_keras=False,
        targets=context.recipe.benchmark.targets,
    )

    def relative(file: str | None) -> str | None:
        return None if file is None else Path(os.path.relpath(file, folder)).as_posix()

    entries = (e.model_copy(update={"file": relative(e.file)}) for e in found.entries)
    return found.model_copy(update={"entries": tuple(entries)})
