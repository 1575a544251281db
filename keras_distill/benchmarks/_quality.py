"""Measures the size of a file and the quality of outputs."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_distill import metrics
from keras_distill._internal import InputError, _files
from keras_distill.export import worst_class
from keras_distill.litert import read_graph
from keras_distill.metrics import Task
from keras_distill.records import QualityRecord, SizeRecord

_TOP = 5


def measure_quality(
    outputs: np.ndarray,
    labels: np.ndarray,
    reference: np.ndarray | None = None,
    *,
    inputs: Sequence[np.ndarray] = (),
    from_probabilities: bool | None = None,
    step: float | None = None,
) -> QualityRecord:
    """Computes the metric of outputs, and the other measurements for their task.

    For classes: accuracy, top-5, agreement, calibration, and likelihood. For other tasks, see
    `metrics.Truth`.

    Args:
        outputs: `(n, ..., N)`: logits or probabilities of N classes, of class 1 of two (N = 1), or
            of N labels; or regression values.
        labels: Class ids or one-hot rows; 0 and 1 for a single unit; rows of 0 and 1 for several
            labels, each counted separately; regression values; or 0 and 1 for each row that an
            autoencoder reconstructs.
        reference: The teacher's outputs on the same rows, for the agreement and the worst class.
        inputs: The model's inputs, for an autoencoder.
        from_probabilities: Whether the outputs are probabilities. If None, see `as_logits`.
        step: The step size of quantized probabilities.

    Raises:
        InputError: If the labels do not match the outputs.

    Example:
        >>> q = measure_quality(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
        >>> q.accuracy, round(q.negative_log_likelihood, 3)
        (0.5, 0.72)
    """
    truth = metrics.truth_of(labels, outputs, inputs)
    if truth is None:
        raise InputError(
            f"The labels do not fit the outputs of shape {outputs.shape}: give class ids, or values"
            f" of that shape that vary. Received: labels of shape {np.shape(labels)}"
        )
    agreement = worst = None
    if reference is not None:
        agreement = truth.agreement(reference, outputs)
        worst = worst_class(truth, reference, outputs)
    common: dict[str, Any] = {
        "samples": len(outputs),
        "agreement": agreement,
        "metric": truth.metric,
        "worst_class": worst,
        "accuracy": None,
        "top5": None,
        "expected_calibration_error": None,
        "negative_log_likelihood": None,
    }
    if not truth.of_classes:
        common["measures"] = truth.measures(outputs)
        return QualityRecord(**common)
    task, ids = truth.task, truth.labels
    logits = metrics.as_logits(outputs, from_probabilities, task=task, step=step)
    known: dict[str, Any] = {"task": task, "from_probabilities": False}
    if task is Task.CLASSES and logits.shape[-1] > _TOP:
        common["top5"] = metrics.top_k_accuracy(logits, ids, _TOP, **known)
    common |= {
        "accuracy": truth.accuracy(logits, False),
        "expected_calibration_error": metrics.expected_calibration_error(logits, ids, **known),
        "negative_log_likelihood": metrics.negative_log_likelihood(logits, ids, **known),
        "measures": truth.measures(logits, False),
    }
    return QualityRecord(**common)


def measure_size(path: str | os.PathLike) -> SizeRecord:
    """Counts parameters, multiply-adds, and bytes of a `.tflite` file.

    `peak_memory_bytes` is None, because it is measured by `measure_latency`.

    Args:
        path: The file.

    Raises:
        InputError: If the file is damaged.
    """
    facts = read_graph(path)
    raw, packed = _files.sizes(path)
    return SizeRecord(
        parameters=facts.parameters,
        multiply_adds=facts.multiply_adds,
        bytes=raw,
        gzip_bytes=packed,
    )
