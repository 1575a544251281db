"""The compression pipeline: prune, cluster, quantize. Each step preserves the earlier results."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_distill import models
from keras_distill._internal import InputError, VerificationError, _files
from keras_distill._internal._compression_steps import Step, parse_steps
from keras_distill.compress._bridge import to_logits
from keras_distill.compress._fake_quant import FakeQuantModel
from keras_distill.compress._fit import Training
from keras_distill.compress._judge import Judge
from keras_distill.compress._kernels import PRUNED, check_skip, kernels
from keras_distill.compress._objective import Objective
from keras_distill.compress._quantization import check_export, export_int8
from keras_distill.compress._steps import Done, Start, run_step
from keras_distill.export import ExportOptions, export_tflite
from keras_distill.litert import count_weights
from keras_distill.records import CompressRecord, ExportRecord, KernelCount, StepRecord
from keras_distill.teachers import as_teacher
from keras_distill.work import WorkFolder


class Compressed(NamedTuple):
    """The result of `compress`.

    Attributes:
        student: The Keras 3 model after the last prune or cluster step.
        fake_quant: The fake-quantized model after a quantize step, otherwise None.
        record: The content of `compress.json`.
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
    max_drop: float | None = None,
    recover: bool = False,
    overwrite: bool = False,
    export: Mapping[str, Any] | None = None,
    **training: Any,
) -> Compressed:
    """Compresses a student in steps. Each step keeps the zeros and values of earlier steps.

    The result of every step and the file are compared with the original student on
    `validation_data`.

    You can interrupt a run at any time. Make the same call again to resume: finished steps are not
    repeated, and an unfinished step continues after its last stored epoch.

    The folder `out` contains `student.keras` (a Keras 3 model with zeros and few distinct values),
    `student-int8.tflite` after a quantize step, otherwise `student-float32.tflite`, `fake_quant/`
    (see `FakeQuantModel`), and `compress.json`.

    Args:
        student: A trained functional or Sequential Keras 3 model. It is not changed.
        data: Batches of (x, y), where y are labels or `Targets`; a pair (x, y) of arrays; or a
            function that takes the number of the first epoch and returns batches. With a function,
            a resumed training sees the same data as an uninterrupted one.
        steps: Some of `prune[:SPARSITY[:SCHEDULE]]`, `prune:2:4`, `cluster[:VALUES]`, `quantize`,
            in this order: see `prune`, `cluster`, `quantize_aware`.
        out: The folder to create.
        skip: Names of layers that are neither pruned nor clustered.
        sparse: Whether to store a float32 file without its zeros. Not supported with quantize.
        max_drop: Maximum loss of accuracy of the file compared with `student`, in percentage
            points. If None, 1 point. A step may lose one row if that is more.
        recover: Whether to retry a step that loses more: first with 3 times the epochs, then also
            with a milder setting (pruning keeps 1.5 times as many weights, clustering uses twice as
            many values, quantization uses a third of the learning rate), then with an even milder
            setting. The first attempt within `max_drop` is kept, or else the most accurate one.
        overwrite: Whether to replace an existing `out` at the end, and to discard unfinished work
            with other settings.
        export: More arguments of `export_tflite`. Its `data`, if given, provides the rows for the
            comparisons.
        **training: See `Training` and `TrainingSettings`. All steps use the same settings. Without
            labeled `validation_data`, the verdict of the file is "not verified on data".

    Raises:
        InputError: If an argument is not valid, or the student does not support a step.
        VerificationError: If the number of zeros or values is wrong, the file loses more than
            `max_drop`, or it differs too much from the compressed model. In this case,
            `<out>.unfinished` contains the trained steps (`student.keras`, `fake_quant/`,
            `compress.json`) without the file, and the error has the record.

    Example:
        >>> import tempfile, numpy as np
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="logits")])
        >>> x, y = np.random.rand(64, 8).astype("float32"), np.random.randint(0, 4, 64)
        >>> done = compress(model, (x, y), ["prune:0.5"], Path(tempfile.mkdtemp(), "small"),
        ...                 alpha=0, epochs=1, batch_size=8, validation_data=(x, y), max_drop=100)
        >>> done.record.kernels[0].zeros
        16
    """
    parsed = parse_steps(steps, sparse=sparse)
    options: dict[str, Any] = {**(export or {}), "sparse": sparse, "reference": student}
    max_drop = options.pop("max_drop", None) if max_drop is None else max_drop
    if parsed[-1].kind == "quantize":
        check_export(options)
    ExportOptions(**{name: v for name, v in options.items() if name != "quantization"})
    check_student(student, steps, skip=skip)
    settings = dataclasses.replace(Training.of(**training), state=None)
    judge = Judge.of(student, settings, options, max_drop)
    if recover and judge.max_drop is None:
        raise InputError(
            "`recover` needs labeled rows, on which a step is judged: pass `validation_data`."
        )
    with WorkFolder(
        out,
        _settings(student, parsed, skip, settings),
        overwrite=overwrite,
        what="compression",
    ) as folder:
        work = _Work(student, settings, judge, recover)
        try:
            for position, step in enumerate(parsed):
                stem = folder.scratch / f"{position}-{step.kind}"
                start = Start(work.model, work.accuracy, data, skip, settings)
                work.add(run_step(stem, step, start, judge, recover=recover))
            final = _export(folder.path, work, data, options)
            counted = count_weights(folder.path / final.file)
            _check_file(work.model, counted, work.fake_quant)
        except VerificationError as error:
            for file in folder.path.glob("student-*.tflite*"):
                _files.remove(file)
            record = work.record(error.record, (), failed=str(error))
            _save(folder.path, work, record)
            raise VerificationError(
                f"{error} The trained steps are kept in {folder.path}: the same call with a larger"
                " max_drop (--max-drop) or with recover (--recover) continues from them.",
                record=record,
            ) from error
        record = work.record(final, counted)
        _save(folder.path, work, record)
        return Compressed(work.model, work.fake_quant, record, folder.finish())


class _Work:
    """The results of the steps so far."""

    def __init__(
        self, student: keras.Model, training: Training, judge: Judge, recover: bool
    ) -> None:
        self.model = student
        self.fake_quant: FakeQuantModel | None = None
        self.accuracy = judge.accuracy
        self.training, self.judge = training, judge
        self._student, self._recover = student.name, recover
        self._steps: list[StepRecord] = []

    def add(self, done: Done) -> None:
        """Adds the result of a step."""
        if isinstance(done.model, FakeQuantModel):
            self.fake_quant = done.model
        else:
            self.model = done.model
        self.accuracy = done.record.accuracy
        self._steps.append(done.record)

    def record(
        self,
        export: ExportRecord | None,
        counted: Sequence[KernelCount],
        *,
        failed: str | None = None,
    ) -> CompressRecord:
        """Returns the record of the steps and the file."""
        samples, settings = self.judge.samples, self.training
        return CompressRecord(
            student=self._student,
            accuracy=self.judge.accuracy,
            samples=0 if samples is None else samples.rows,
            source=None if samples is None else samples.source,
            max_drop=self.judge.max_drop,
            recover=self._recover,
            steps=tuple(self._steps),
            alpha=None if callable(settings.alpha) else settings.alpha,
            temperature=_temperature(settings),
            export=export,
            kernels=tuple(counted),
            failed=failed,
            warnings=self.judge.warnings,
        )


def _save(folder: Path, work: _Work, record: CompressRecord) -> None:
    models.save_uncompiled(work.model, folder / "student.keras")
    if work.fake_quant is not None:
        work.fake_quant.save(folder / "fake_quant", overwrite=True)
    record.save(folder / "compress.json", overwrite=True)


def check_student(student: keras.Model, steps: Sequence[str], *, skip: Sequence[str] = ()) -> None:
    """Checks that a student supports the steps, without training or changing it.

    Args:
        student: A functional or Sequential Keras 3 model; its weights do not matter.
        steps: See `compress`.
        skip: See `compress`.

    Raises:
        InputError: If a step is unknown, `skip` contains a name that no layer with a kernel has,
            there is no kernel to prune or cluster, or a layer cannot be converted to tf_keras or
            be trained in fake quantization.

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
    """Returns the settings that determine the trained weights, for the work folder."""
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


def _export(folder: Path, work: _Work, data: Any, options: dict[str, Any]) -> ExportRecord:
    judge = work.judge
    if judge.samples is not None:
        options = {**options, "data": judge.samples, "max_drop": judge.asked}
    if work.fake_quant is not None:
        path = folder / "student-int8.tflite"
        return export_int8(work.fake_quant, path, data, work.training, overwrite=True, **options)
    return export_tflite(work.model, folder / "student-float32.tflite", overwrite=True, **options)


def _check_file(
    model: keras.Model, counted: Sequence[KernelCount], fake_quant: FakeQuantModel | None
) -> None:
    """Checks that a file has at least as many zeros as the pruned kernels of its model.

    Raises:
        VerificationError: If it has fewer.
    """
    if fake_quant is not None and not fake_quant.preserve:
        return
    wanted = sum(kernel.zeros for kernel in kernels(model) if kernel.sparsity >= PRUNED)
    found = sum(kernel.zeros for kernel in counted)
    if found < wanted:
        raise VerificationError(f"The file has {found} zero weights, and the student had {wanted}.")


def summary(record: CompressRecord) -> list[tuple[str, str]]:
    """Returns the record as rows of (name, value)."""
    if record.export is None or not record.kernels:
        return []
    size = sum(kernel.size for kernel in record.kernels)
    zeros = sum(kernel.zeros for kernel in record.kernels)
    values = max((kernel.values_per_channel for kernel in record.kernels), default=0)
    return [
        ("file", f"{record.export.bytes} bytes, {record.export.gzip_bytes} gzipped"),
        ("zeros", f"{zeros} of {size} weights ({zeros / max(size, 1):.1%})"),
        ("values", f"at most {values} per output channel"),
    ]


STEP_COLUMNS = ("step", "epochs", "accuracy before, %", "after, %", "lost in all, points")


def step_rows(record: CompressRecord) -> list[tuple[str, ...]]:
    """Returns a row of `STEP_COLUMNS` for each attempt, each step, and the file."""
    rows: list[tuple[str, ...]] = [("student given", "", "", _share(record.accuracy), "")]
    for step in record.steps:
        before = _share(step.accuracy_before)
        for one in step.attempts if len(step.attempts) > 1 else ():
            slower = one.learning_rate != step.attempts[0].learning_rate
            title = f"- tried {one.step}" + (f" at {one.learning_rate:.2g}" if slower else "")
            rows.append((title, f"{one.epochs}", before, _share(one.accuracy), _points(one.drop)))
        title = step.step if step.scheme is None else f"{step.step} ({step.scheme})"
        rows.append((title, f"{step.epochs}", before, _share(step.accuracy), _points(step.drop)))
    worst = None if record.export is None else record.export.verification.worst
    if record.export is not None and worst is not None:
        title = f"{record.export.recipe.quantization} file{', not written' * bool(record.failed)}"
        before = _share(worst.judged.converted)
        rows.append((title, "", before, _share(worst.judged.file), _points(worst.drop)))
    return rows


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
