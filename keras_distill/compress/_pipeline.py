"""Pruning, clustering and quantization one after the other, each keeping what came before."""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_distill import models
from keras_distill._internal import InputError, VerificationError, _files
from keras_distill._internal._compression_steps import Step, parse_steps
from keras_distill.compress._checking import check_student
from keras_distill.compress._clustering import cluster_logged
from keras_distill.compress._fake_quant import FakeQuantModel
from keras_distill.compress._fit import Training
from keras_distill.compress._kernels import PRUNED, kernels
from keras_distill.compress._pruning import prune_logged
from keras_distill.compress._quantization import check_export, export_int8, quantize_logged
from keras_distill.export import export_tflite
from keras_distill.litert import count_weights
from keras_distill.records._compress import CompressRecord, KernelCount, KernelState, StepRecord
from keras_distill.records._export import ExportRecord
from keras_distill.teachers import as_teacher
from keras_distill.training import split


class Compressed(NamedTuple):
    """What `compress` gives.

    Attributes:
        student: The plain Keras 3 model after the last prune or cluster step.
        fake_quant: The fake-quantized model after a quantize step, else None.
        record: `compress.json`.
        folder: Where everything stands.
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
    """Compresses a student in steps, each of which keeps what the earlier ones won.

    Interrupted, the same call goes on where it stopped: finished steps are not trained again, and
    the one under way goes on from its last epoch.

    The folder `out` gets `student.keras` (plain Keras 3, with zeros and few values),
    `student-int8.tflite` after a quantize step, else `student-float32.tflite`, `fake_quant/` (see
    `FakeQuantModel`), and `compress.json`.

    Args:
        student: A trained functional or Sequential Keras 3 model. It is not changed.
        data: Batches of (x, y), y labels or `Targets`; a pair (x, y) of arrays; or a function
            from the number of the first epoch to batches, with which a resumed training sees
            the same as an uninterrupted one.
        steps: Of `prune[:SPARSITY[:SCHEDULE]]`, `prune:2:4`, `cluster[:VALUES]`, `quantize`, in
            this order: see `prune`, `cluster`, `quantize_aware`.
        out: The folder to make.
        skip: Names of layers that are neither pruned nor clustered.
        sparse: Whether the zeros are left out of a float32 file. Not with quantize.
        overwrite: Whether a folder at `out` may be replaced, once all is done; unfinished work of
            other settings is thrown away.
        export: More arguments of `export_tflite`.
        **training: See `Training` and `TrainingSettings`; the same for every step. The
            verification also uses `validation_data`.

    Raises:
        InputError: If an argument breaks its rule or the student cannot be compressed so.
        VerificationError: If zeros or values are not what they should be, or the file differs
            too much from the model.

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
    options["sparse"] = sparse
    if parsed[-1].kind == "quantize":
        check_export(options)
    check_student(student, steps, skip=skip)
    work = _Work(out, overwrite=overwrite)
    settings = dataclasses.replace(Training.of(**training), state=None)
    work.open(_asked(student, parsed, skip, settings))
    model, fake_quant, records = student, None, []
    for position, step in enumerate(parsed):
        model, fake_quant, record = work.step(position, step, model, data, skip, settings)
        records.append(record)
    final = _export(work, model, fake_quant, data, settings, options)
    counted = count_weights(work.path / final.file)
    _check_file(model, counted, fake_quant)
    record = CompressRecord(
        student=student.name,
        steps=tuple(records),
        alpha=None if callable(settings.alpha) else settings.alpha,
        temperature=_temperature(settings),
        export=final,
        kernels=counted,
    )
    folder = work.finish(model, fake_quant, record)
    return Compressed(model, fake_quant, record, folder)


def _temperature(training: Training) -> float | None:
    if training.distillation_losses is not None or callable(training.temperature):
        return None
    return training.temperature


def _asked(
    student: keras.Model, steps: Sequence[Step], skip: Sequence[str], training: Training
) -> dict[str, Any]:
    """What decides the trained weights, so that other work is not taken for this."""
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


class _Work:
    """The folder: `<out>.unfinished` while work is under way, `<out>` once it is done."""

    def __init__(self, out: str | os.PathLike, *, overwrite: bool) -> None:
        self.out = _files.check_output(out, overwrite=overwrite)
        self.path = self.out.with_name(self.out.name + ".unfinished")
        self._overwrite = overwrite

    def open(self, asked: dict[str, Any]) -> None:
        """Goes on with unfinished work of the same settings, or starts anew."""
        file = self.path / "asked.json"
        if file.exists() and json.loads(file.read_text(encoding="utf-8")) == asked:
            return
        begun = self.path.exists() and {path.name for path in self.path.iterdir()} - {file.name}
        if begun and not self._overwrite:
            raise InputError(
                f"{self.path} is unfinished work of other settings. Give those again, choose"
                " another folder, or pass overwrite=True (--overwrite)."
            )
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        _files.write_json(file, asked)

    def step(
        self,
        position: int,
        step: Step,
        model: keras.Model,
        data: Any,
        skip: Sequence[str],
        training: Training,
    ) -> tuple[keras.Model, FakeQuantModel | None, StepRecord]:
        """Does one step, or reads what an earlier session did."""
        stem = self.path / f"{position}-{step.kind}"
        kept, state, report = (
            stem.with_suffix(".keras"),
            stem.with_suffix(".npz"),
            stem.with_suffix(".json"),
        )
        quantize = step.kind == "quantize"
        if report.exists():
            record = StepRecord.load(report)
            if quantize:
                return model, FakeQuantModel.load(self.path / "fake_quant"), record
            return models.load(kept), None, record
        training = dataclasses.replace(training, state=state)
        fake_quant = None
        if step.kind == "prune":
            model, logs = prune_logged(
                model, data, step.sparsity, step.pruning_schedule, skip, training
            )
        elif step.kind == "cluster":
            model, logs = cluster_logged(model, data, step.clusters, skip, training)
        else:
            fake_quant, logs = quantize_logged(model, data, training)
            fake_quant.save(self.path / "fake_quant", overwrite=True)
        if not quantize:
            with _files.atomic_path(kept, overwrite=True) as temporary:
                model.save(temporary)
        record = _step_record(step, model, fake_quant, logs, training.settings.epochs)
        record.save(report)
        return model, fake_quant, record

    def finish(
        self, model: keras.Model, fake_quant: FakeQuantModel | None, record: CompressRecord
    ) -> Path:
        """Leaves only the results and moves the folder into place."""
        results = {"student.keras", "compress.json", "fake_quant"}
        results |= {record.export.file, record.export.file + ".json"}
        with _files.atomic_path(self.path / "student.keras", overwrite=True) as temporary:
            model.save(temporary)
        record.save(self.path / "compress.json", overwrite=True)
        for path in self.path.iterdir():
            if path.name not in results:
                _files.remove(path)
        with _files.atomic_path(self.out, overwrite=self._overwrite) as temporary:
            os.rename(self.path, temporary)
        return self.out


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
        kernels=tuple(KernelState(**kernel._asdict()) for kernel in kernels(model)),
    )


def _export(
    work: _Work,
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
        path = work.path / "student-int8.tflite"
        return export_int8(fake_quant, path, data, training, overwrite=True, **options)
    return export_tflite(model, work.path / "student-float32.tflite", overwrite=True, **options)


def _labeled(x: Any, y: Any, *weights: Any) -> tuple[Any, Any]:
    """x and plain labels: the verification has no use for soft targets."""
    return x, split(y).labels


def _check_file(
    model: keras.Model, counted: Sequence[KernelCount], fake_quant: FakeQuantModel | None
) -> None:
    """Refuses a file with fewer zeros than the pruned kernels of the model it was made of.

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
    """The record in rows for people: what, and how much."""
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
