"""The compression pipeline: prune, cluster, quantize, each keeping the result of the one before."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_distill import models
from keras_distill._internal import InputError, VerificationError
from keras_distill._internal._compression_steps import Step, parse_steps
from keras_distill.compress._bridge import to_logits
from keras_distill.compress._clustering import cluster_logged
from keras_distill.compress._fake_quant import FakeQuantModel
from keras_distill.compress._fit import Training
from keras_distill.compress._kernels import PRUNED, check_skip, kernels
from keras_distill.compress._objective import Objective
from keras_distill.compress._pruning import prune_logged
from keras_distill.compress._quantization import check_export, export_int8, quantize_logged
from keras_distill.export import export_tflite
from keras_distill.litert import count_weights
from keras_distill.records import (
    CompressRecord,
    ExportRecord,
    KernelCount,
    StepRecord,
)
from keras_distill.teachers import as_teacher
from keras_distill.training import split
from keras_distill.work import WorkFolder


class Compressed(NamedTuple):
    """The result of `compress`.

    Attributes:
        student: The plain Keras 3 model after the last prune or cluster step.
        fake_quant: The fake-quantized model after a quantize step, else None.
        record: `compress.json`.
        folder: The output folder.
    """

    student: keras.Model
    fake_quant: FakeQuantModel | None
    record: CompressRecord
    folder: Path


def compress(
    student: keras.Model,
    data: Any,
    steps: Sequence[str],
    out: str | os.PathLike,
    *,
    skip: Sequence[str] = (),
    sparse: bool = False,
    overwrite: bool = False,
    export: Mapping[str, Any] | None = None,
    **training: Any,
) -> Compressed:
    """Compresses a student in steps, each of which keeps the zeros and values of earlier ones.

    You can interrupt it at any time. The same call resumes: it does not repeat finished steps, and
    continues an unfinished one from its last epoch.

    The folder `out` gets `student.keras` (plain Keras 3, with zeros and few values),
    `student-int8.tflite` after a quantize step, else `student-float32.tflite`, `fake_quant/` (see
    `FakeQuantModel`), and `compress.json`.

    Args:
        student: A trained functional or Sequential Keras 3 model. It is not changed.
        data: Batches of (x, y), y labels or `Targets`; a pair (x, y) of arrays; or a function
            from the number of the first epoch to batches, with which a resumed training sees
            the same as an uninterrupted one.
        steps: Some of `prune[:SPARSITY[:SCHEDULE]]`, `prune:2:4`, `cluster[:VALUES]`, `quantize`,
            in this order: see `prune`, `cluster`, `quantize_aware`.
        out: The folder to make.
        skip: Names of layers that are neither pruned nor clustered.
        sparse: Whether to store a float32 file without its zeros. Not with quantize.
        overwrite: Whether to replace an existing `out` at the end, and to discard unfinished work
            with other settings.
        export: More arguments of `export_tflite`.
        **training: See `Training` and `TrainingSettings`; the same for every step. The
            verification also uses `validation_data`.

    Raises:
        InputError: If an argument breaks its rule or the student does not support a step.
        VerificationError: If the number of zeros or values is wrong, or the file differs too much
            from the model.

    Example:
        >>> import tempfile, numpy as np
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="logits")])
        >>> x, y = np.random.rand(64, 8).astype("float32"), np.random.randint(0, 4, 64)
        >>> done = compress(model, (x, y), ["prune:0.5"], Path(tempfile.mkdtemp(), "small"),
        ...                 alpha=0, epochs=1, batch_size=8, validation_data=(x, y))
        >>> done.record.kernels[0].zeros
        16
    """
    parsed = parse_steps(steps, sparse=sparse)
    options = dict(export or {})
    options |= {"sparse": sparse, "reference": student}
    if parsed[-1].kind == "quantize":
        check_export(options)
    check_student(student, steps, skip=skip)
    settings = dataclasses.replace(Training.of(**training), state=None)
    with WorkFolder(
        out,
        _settings(student, parsed, skip, settings),
        overwrite=overwrite,
        what="compression",
    ) as folder:
        model, fake_quant, records = student, None, []
        for position, step in enumerate(parsed):
            stem = folder.scratch / f"{position}-{step.kind}"
            if step.kind == "quantize":
                fake_quant, record = _quantize(stem, step, model, data, settings)
            else:
                model, record = _sparsify(stem, step, model, data, skip, settings)
            records.append(record)
        final = _export(folder.path, model, fake_quant, data, settings, options)
        counted = count_weights(folder.path / final.file)
        _check_file(model, counted, fake_quant)
        record = CompressRecord(
            student=student.name,
            steps=tuple(records),
            alpha=None if callable(settings.alpha) else settings.alpha,
            temperature=_temperature(settings),
            export=final,
            kernels=counted,
        )
        models.save_uncompiled(model, folder.path / "student.keras")
        if fake_quant is not None:
            fake_quant.save(folder.path / "fake_quant", overwrite=True)
        record.save(folder.path / "compress.json", overwrite=True)
        return Compressed(model, fake_quant, record, folder.finish())


def check_student(student: keras.Model, steps: Sequence[str], *, skip: Sequence[str] = ()) -> None:
    """Checks that a student supports the steps, without training or changing it.

    Args:
        student: A functional or Sequential Keras 3 model; its weights do not matter.
        steps: See `compress`.
        skip: See `compress`.

    Raises:
        InputError: If a step is unknown, `skip` names no layer with a kernel, there is no kernel
            to prune or cluster, or a layer cannot cross the bridge or be trained in fake
            quantization.

    Example:
        >>> model = keras.Sequential([keras.Input((4, 3)), keras.layers.GRU(2, name="gru")])
        >>> check_student(model, ["quantize"])
        Traceback (most recent call last):
        keras_distill.InputError: Layer 'gru' cannot be compressed: a GRU layer cannot be \
trained in fake quantization. Export the student with quantization='int8' instead, or 'dynamic'.
    """
    kinds = {step.kind for step in parse_steps(steps)}
    check_skip(student, skip)
    if kinds & {"prune", "cluster"} and not any(kernels(student)):
        raise InputError(f"Model {student.name!r} has no kernel that could be pruned or clustered.")
    if "quantize" in kinds:
        FakeQuantModel(student)
    else:
        to_logits(student, Objective(student, alpha=0).heads)


def _temperature(training: Training) -> float | None:
    if training.distillation_losses is not None or callable(training.temperature):
        return None
    return training.temperature


def _settings(
    student: keras.Model, steps: Sequence[Step], skip: Sequence[str], training: Training
) -> dict[str, Any]:
    """Returns what decides the trained weights, for the work folder."""
    plain = {
        field.name: getattr(training, field.name)
        for field in dataclasses.fields(training)
        if isinstance(getattr(training, field.name), int | float | str | None)
        and field.name not in ("state", "verbose")
    }
    teacher = None if training.teacher is None else as_teacher(training.teacher).fingerprint()
    return {
        "student": models.fingerprint(student),
        "teacher": teacher,
        "steps": [step.text for step in steps],
        "skip": list(skip),
        "training": {**training.settings.model_dump(mode="json"), **plain},
    }


def _sparsify(
    stem: Path,
    step: Step,
    model: keras.Model,
    data: Any,
    skip: Sequence[str],
    training: Training,
) -> tuple[keras.Model, StepRecord]:
    """Prunes or clusters, or loads what an earlier session did."""
    result, report = stem.with_suffix(".keras"), stem.with_suffix(".json")
    if report.exists():
        return models.load(result), StepRecord.load(report)
    training = dataclasses.replace(training, state=stem.with_suffix(".npz"))
    if step.kind == "prune":
        sparsity, schedule = step.sparsity, step.pruning_schedule
        model, logs = prune_logged(model, data, sparsity, schedule, skip, training)
    else:
        model, logs = cluster_logged(model, data, step.clusters, skip, training)
    models.save_uncompiled(model, result)
    record = _step_record(step, model, None, logs, training.settings.epochs)
    record.save(report)
    return model, record


def _quantize(
    stem: Path, step: Step, model: keras.Model, data: Any, training: Training
) -> tuple[FakeQuantModel, StepRecord]:
    """Trains in fake quantization, or loads what an earlier session did."""
    result, report = stem.with_name("fake_quant"), stem.with_suffix(".json")
    if report.exists():
        return FakeQuantModel.load(result), StepRecord.load(report)
    training = dataclasses.replace(training, state=stem.with_suffix(".npz"))
    fake_quant, logs = quantize_logged(model, data, training)
    fake_quant.save(result, overwrite=True)
    record = _step_record(step, model, fake_quant, logs, training.settings.epochs)
    record.save(report)
    return fake_quant, record


def _step_record(
    step: Step,
    model: keras.Model,
    fake_quant: FakeQuantModel | None,
    logs: dict[str, Any],
    epochs: int,
) -> StepRecord:
    return StepRecord(
        step=step.text,
        scheme=None if fake_quant is None else fake_quant.scheme,
        epochs=epochs,
        seconds=logs["seconds"],
        logs={name: tuple(values) for name, values in logs.items() if name != "seconds"},
        kernels=tuple(kernels(model)),
    )


def _export(
    folder: Path,
    model: keras.Model,
    fake_quant: FakeQuantModel | None,
    data: Any,
    training: Training,
    options: dict[str, Any],
) -> ExportRecord:
    if training.validation_data is not None:
        judges = training.batches("validation_data", training.validation_data)
        options = {"data": judges.map(_labeled), **options}
    if fake_quant is not None:
        path = folder / "student-int8.tflite"
        return export_int8(fake_quant, path, data, training, overwrite=True, **options)
    return export_tflite(model, folder / "student-float32.tflite", overwrite=True, **options)


def _labeled(x: Any, y: Any, *weights: Any) -> tuple[Any, Any]:
    """Returns x and plain labels: the verification does not use soft targets."""
    return x, split(y).labels


def _check_file(
    model: keras.Model, counted: Sequence[KernelCount], fake_quant: FakeQuantModel | None
) -> None:
    """Refuses a file with fewer zeros than the pruned kernels of its model.

    Raises:
        VerificationError: If there are fewer.
    """
    if fake_quant is not None and not fake_quant.preserve:
        return
    wanted = sum(kernel.zeros for kernel in kernels(model) if kernel.sparsity >= PRUNED)
    found = sum(kernel.zeros for kernel in counted)
    if found < wanted:
        raise VerificationError(f"The file has {found} zero weights, and the student had {wanted}.")


def summary(record: CompressRecord) -> list[tuple[str, str]]:
    """Returns the record as rows of a name and a value."""
    size = sum(kernel.size for kernel in record.kernels)
    zeros = sum(kernel.zeros for kernel in record.kernels)
    values = max((kernel.values_per_channel for kernel in record.kernels), default=0)
    rows = [(f"step {step.step}", step.scheme or "") for step in record.steps]
    return [
        *rows,
        ("file", f"{record.export.bytes} bytes, {record.export.gzip_bytes} gzipped"),
        ("zeros", f"{zeros} of {size} weights ({zeros / max(size, 1):.1%})"),
        ("values", f"at most {values} per output channel"),
    ]
