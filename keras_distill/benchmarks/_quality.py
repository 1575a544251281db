"""Measures the size of a file and the quality of outputs."""

import os

import numpy as np

from keras_distill import metrics
from keras_distill._internal import _files
from keras_distill.export import class_ids
from keras_distill.litert import read_graph
from keras_distill.records import QualityRecord, SizeRecord
from keras_distill.teachers import look_like_probabilities, probabilities_to_logits

_TOP = 5
_TOLERANCE = 0.05  # quantized probabilities sum to 1 only roughly


def as_logits(outputs: np.ndarray, probabilities: bool | None = None) -> np.ndarray:
    """Converts outputs to logits; see `teachers.probabilities_to_logits`.

    Args:
        outputs: `(n, classes)`, logits or probabilities.
        probabilities: Whether they are; None: if all rows are >= 0 and sum to 1.

    Example:
        >>> as_logits(np.array([[0.25, 0.75]])).round(3).tolist()
        [[-1.386, -0.288]]
        >>> as_logits(np.array([[2.0, -1.0]])).tolist()
        [[2.0, -1.0]]
    """
    outputs = np.asarray(outputs, np.float64)
    if probabilities is None:
        probabilities = look_like_probabilities(outputs, _TOLERANCE)
    return probabilities_to_logits(outputs) if probabilities else outputs


def measure_quality(
    outputs: np.ndarray,
    labels: np.ndarray,
    reference: np.ndarray | None = None,
    *,
    probabilities: bool | None = None,
) -> QualityRecord:
    """Computes accuracy, top-5, agreement, calibration, and likelihood of outputs.

    Args:
        outputs: `(n, classes)`, logits or probabilities.
        labels: Class ids `(n,)` or one-hot rows.
        reference: The teacher's outputs on the same rows, for the agreement.
        probabilities: Whether the outputs are probabilities; None: see `as_logits`.

    Raises:
        InputError: If the shapes do not match.

    Example:
        >>> q = measure_quality(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
        >>> q.accuracy, round(q.negative_log_likelihood, 3)
        (0.5, 0.72)
    """
    logits = as_logits(outputs, probabilities)
    ids = class_ids(labels, logits)
    return QualityRecord(
        samples=len(logits),
        accuracy=metrics.accuracy(logits, ids),
        top5=metrics.top_k_accuracy(logits, ids, _TOP) if logits.shape[-1] > _TOP else None,
        agreement=None if reference is None else metrics.agreement(reference, outputs),
        expected_calibration_error=metrics.expected_calibration_error(logits, ids),
        negative_log_likelihood=metrics.negative_log_likelihood(logits, ids),
    )


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
