"""Measures the size of a file and the quality of outputs."""

import os
from typing import Any

import numpy as np

from keras_distill import metrics
from keras_distill._internal import _files
from keras_distill._internal._probabilities import (
    lie_in_unit_interval,
    look_like_probabilities,
    probabilities_to_logits,
)
from keras_distill.litert import read_graph
from keras_distill.metrics import Task
from keras_distill.records import QualityRecord, SizeRecord

_TOP = 5
_TOLERANCE = 0.05  # quantized probabilities sum to 1 only roughly


def as_logits(
    outputs: np.ndarray,
    from_probabilities: bool | None = None,
    *,
    task: Task | None = None,
    step: float | None = None,
) -> np.ndarray:
    """Converts outputs to logits; see `teachers.probabilities_to_logits`.

    Args:
        outputs: `(n, ..., N)`, logits or probabilities.
        from_probabilities: Whether they are probabilities; None: if all rows are >= 0 and sum to 1,
            under a sigmoid if all values are in 0..1.
        task: What they predict; None: two classes for N = 1, else one of N classes.
        step: The step of quantized probabilities.

    Example:
        >>> as_logits(np.array([[0.25, 0.75]])).round(3).tolist()
        [[-1.386, -0.288]]
        >>> as_logits(np.array([[2.0, -1.0]])).tolist()
        [[2.0, -1.0]]
    """
    outputs = np.asarray(outputs, np.float64)
    sigmoid = outputs.shape[-1] == 1 if task is None else task is not Task.CLASSES
    if from_probabilities is None:
        from_probabilities = (
            lie_in_unit_interval(outputs)
            if sigmoid
            else look_like_probabilities(outputs, _TOLERANCE)
        )
    if not from_probabilities:
        return outputs
    return probabilities_to_logits(outputs, "sigmoid" if sigmoid else "softmax", step=step)


def measure_quality(
    outputs: np.ndarray,
    labels: np.ndarray,
    reference: np.ndarray | None = None,
    *,
    from_probabilities: bool | None = None,
    step: float | None = None,
) -> QualityRecord:
    """Computes accuracy, top-5, agreement, calibration, and likelihood of outputs.

    Args:
        outputs: `(n, ..., N)`, logits or probabilities: of N classes, of the class 1 of two
            (N = 1), or of N labels.
        labels: Class ids or one-hot rows; 0 and 1 for one unit; rows of 0 and 1 for several labels,
            of which each counts.
        reference: The teacher's outputs on the same rows, for the agreement.
        from_probabilities: Whether the outputs are probabilities; None: see `as_logits`.
        step: The step of quantized probabilities.

    Raises:
        InputError: If the shapes do not match, or the labels are those of a regression.

    Example:
        >>> q = measure_quality(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
        >>> q.accuracy, round(q.negative_log_likelihood, 3)
        (0.5, 0.72)
    """
    task = _task_of(outputs, labels)
    logits = as_logits(outputs, from_probabilities, task=task, step=step)
    known: dict[str, Any] = {"task": task, "from_probabilities": False}
    top5 = task is Task.CLASSES and logits.shape[-1] > _TOP
    agreement = None
    if reference is not None:
        agreement = metrics.agreement(reference, outputs, task=task)
    return QualityRecord(
        samples=len(logits),
        accuracy=metrics.accuracy(logits, labels, **known),
        top5=metrics.top_k_accuracy(logits, labels, _TOP, **known) if top5 else None,
        agreement=agreement,
        expected_calibration_error=metrics.expected_calibration_error(logits, labels, **known),
        negative_log_likelihood=metrics.negative_log_likelihood(logits, labels, **known),
    )


def _task_of(outputs: np.ndarray, labels: Any) -> Task:
    """Returns the task that labels show: with other labels than of classes, that of the outputs."""
    task = metrics.read_task(outputs.shape, labels)
    if task in (None, Task.REGRESSION):
        return Task.BINARY if outputs.shape[-1] == 1 else Task.CLASSES
    return task


def measure_size(path: str | os.PathLike) -> SizeRecord:
    """Counts parameters, multiply-adds, and bytes of a `.tflite` file.

    `peak_memory_bytes` is None: `measure_latency` measures it.

    Args:
        path: The file.

    Raises:
        InputError: If it is damaged.
    """
    facts = read_graph(path)
    raw, packed = _files.sizes(path)
    return SizeRecord(
        parameters=facts.parameters,
        multiply_adds=facts.multiply_adds,
        bytes=raw,
        gzip_bytes=packed,
    )
