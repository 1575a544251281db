"""How good a model's outputs are."""

import numpy as np

from keras_distill import metrics
from keras_distill.export import class_ids
from keras_distill.records.benchmark import QualityRecord

_TOP = 5


def as_logits(outputs: np.ndarray) -> np.ndarray:
    """Outputs as logits: probabilities (rows >= 0 with sum 1) become their logarithms.

    Quantised probabilities sum to 1 only roughly, hence the tolerance of 0.05; a probability that
    was rounded to 0 counts as 1e-9.

    Args:
        outputs: `(n, classes)`, logits or probabilities.

    Example:
        >>> as_logits(np.array([[0.25, 0.75]])).round(3).tolist()
        [[-1.386, -0.288]]
        >>> as_logits(np.array([[2.0, -1.0]])).tolist()
        [[2.0, -1.0]]
    """
    outputs = np.float64(outputs)
    sums = outputs.sum(axis=-1)
    if (outputs >= 0).all() and (np.abs(sums - 1) < 0.05).all():
        return np.log(np.maximum(outputs, 1e-9))
    return outputs


def measure_quality(
    outputs: np.ndarray, labels: np.ndarray, reference: np.ndarray | None = None
) -> QualityRecord:
    """Accuracy, top-5, agreement, calibration and likelihood of a model's outputs.

    Args:
        outputs: `(n, classes)`, logits or probabilities.
        labels: Class ids `(n,)` or one-hot rows.
        reference: The teacher's outputs on the same rows, for the agreement.

    Raises:
        InputError: If the shapes do not fit.

    Example:
        >>> q = measure_quality(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
        >>> q.accuracy, round(q.negative_log_likelihood, 3)
        (0.5, 0.72)
    """
    logits = as_logits(outputs)
    ids = class_ids(labels, logits)
    return QualityRecord(
        samples=len(logits),
        accuracy=metrics.accuracy(logits, ids),
        top5=metrics.top_k_accuracy(logits, ids, _TOP) if logits.shape[-1] > _TOP else None,
        agreement=None if reference is None else metrics.agreement(reference, outputs),
        expected_calibration_error=metrics.expected_calibration_error(logits, ids),
        negative_log_likelihood=metrics.negative_log_likelihood(logits, ids),
    )
