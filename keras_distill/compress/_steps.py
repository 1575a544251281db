"""Runs one step of a pipeline: trains or loads it, and retries it to recover accuracy."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_distill import models
from keras_distill._internal import VerificationError
from keras_distill._internal._compression_steps import Step
from keras_distill.compress._clustering import cluster_logged
from keras_distill.compress._fake_quant import FakeQuantModel
from keras_distill.compress._fit import Training
from keras_distill.compress._judge import Judge
from keras_distill.compress._kernels import kernels
from keras_distill.compress._pruning import prune_logged
from keras_distill.compress._quantization import quantize_logged
from keras_distill.compress._recover import Attempt, attempts
from keras_distill.records import AttemptRecord, StepRecord


class Start(NamedTuple):
    """The input of a step.

    Attributes:
        model: The model from the previous steps.
        accuracy: Its accuracy; None without labels.
        data: See `compress`.
        skip: See `compress`.
        training: The training settings as given.
    """

    model: keras.Model
    accuracy: float | None
    data: Any
    skip: Sequence[str]
    training: Training


class Done(NamedTuple):
    """The result of a step. After a quantize step, `model` is the fake-quantized model."""

    model: keras.Model | FakeQuantModel
    record: StepRecord


def run_step(stem: Path, step: Step, start: Start, judge: Judge, *, recover: bool) -> Done:
    """Makes attempts at a step until one keeps enough accuracy, and otherwise uses the best.

    Args:
        stem: Start of the names of the files that store the result for a later session.
        step: The step.
        start: The input of the step.
        judge: Measures how much accuracy a result has lost.
        recover: Whether to make more than one attempt.

    Raises:
        VerificationError: If the number of zeros or values is wrong after every attempt.
    """
    tried: list[AttemptRecord] = []
    best: Done | None = None
    failure: VerificationError | None = None
    for number, attempt in enumerate(attempts(step, start.training.settings, recover=recover)):
        place = stem if number == 0 else stem.with_name(f"{stem.name}-attempt{number + 1}")
        try:
            done = _attempt(place, attempt, start, judge)
        except VerificationError as error:
            failure = error
            tried.append(_tried(attempt, None))
            continue
        tried.append(_tried(attempt, done.record))
        if best is None or (done.record.accuracy or 0.0) > (best.record.accuracy or 0.0):
            best = done
        if judge.accepts(done.record.drop):
            best = done
            break
    if best is None:
        assert failure is not None  # there is at least one attempt
        raise failure
    if not recover:
        return best
    made = best.record.step
    asked = None if made == step.text else step.text
    return best._replace(
        record=best.record.model_copy(update={"asked": asked, "attempts": tuple(tried)})
    )


def _tried(attempt: Attempt, record: StepRecord | None) -> AttemptRecord:
    return AttemptRecord(
        step=attempt.step.text,
        epochs=attempt.settings.epochs,
        learning_rate=attempt.settings.learning_rate,
        accuracy=None if record is None else record.accuracy,
        drop=None if record is None else record.drop,
        seconds=0.0 if record is None else record.seconds,
    )


def _attempt(stem: Path, attempt: Attempt, start: Start, judge: Judge) -> Done:
    """Trains, or loads the result of an earlier session."""
    step, report = attempt.step, stem.with_suffix(".json")
    quantize = step.kind == "quantize"
    result = stem.with_name(f"{stem.name}.fake_quant") if quantize else stem.with_suffix(".keras")
    if report.exists():
        load = FakeQuantModel.load if quantize else models.load
        return Done(load(result), StepRecord.load(report))
    training = dataclasses.replace(
        start.training, settings=attempt.settings, state=stem.with_suffix(".npz")
    )
    if quantize:
        made, logs = quantize_logged(start.model, start.data, training)
        made.save(result, overwrite=True)
        kept = start.model  # the step does not change its kernels
    else:
        made, logs = _sparsify(step, start, training)
        models.save_uncompiled(made, result)
        kept = made
    found = judge.measure(made)
    record = StepRecord(
        step=step.text,
        scheme=made.scheme if isinstance(made, FakeQuantModel) else None,
        epochs=attempt.settings.epochs,
        learning_rate=attempt.settings.learning_rate,
        seconds=logs["seconds"],
        logs={name: tuple(values) for name, values in logs.items() if name != "seconds"},
        kernels=tuple(kernels(kept)),
        accuracy_before=start.accuracy,
        accuracy=found.accuracy,
        drop=found.drop,
    )
    record.save(report)
    return Done(made, record)


def _sparsify(step: Step, start: Start, training: Training) -> tuple[keras.Model, dict[str, Any]]:
    if step.kind == "prune":
        return prune_logged(
            start.model, start.data, step.sparsity, step.pruning_schedule, start.skip, training
        )
    return cluster_logged(start.model, start.data, step.clusters, start.skip, training)
