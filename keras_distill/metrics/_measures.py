"""Measures for outputs other than one class per row: segmentation, regression, and anomalies."""

import numpy as np
import numpy.typing as npt

from keras_distill._internal import InputError
from keras_distill._internal._types import Array


def class_overlaps(predicted: npt.ArrayLike, labels: npt.ArrayLike, classes: int) -> Array:
    """Computes the intersection over union (IoU) of each class: |A ∩ B| / |A ∪ B|.

    A is the set of pixels predicted as the class, B the set of pixels labeled with it. The measure
    is also called the Jaccard index.

    Args:
        predicted: Class ids `(n,)`, one per pixel.
        labels: Class ids `(n,)`, one per pixel.
        classes: The number of classes N.

    Returns:
        float64 `(N,)`, NaN for a class that is neither predicted nor among the labels.

    Example:
        >>> class_overlaps([0, 0, 1, 1], [0, 1, 1, 1], 3).round(3).tolist()
        [0.5, 0.667, nan]
    """
    a, b = np.asarray(predicted).reshape(-1), np.asarray(labels).reshape(-1)
    both = np.bincount(b[a == b], minlength=classes).astype(np.float64)
    either = np.bincount(a, minlength=classes) + np.bincount(b, minlength=classes) - both
    with np.errstate(invalid="ignore"):
        return both / np.where(either > 0, either, np.nan)


def mean_overlap(predicted: npt.ArrayLike, labels: npt.ArrayLike, classes: int) -> float:
    """Computes the mean intersection over union (mIoU): the mean of `class_overlaps`.

    Classes that are neither predicted nor among the labels are left out of the mean.

    Args:
        predicted: Class ids `(n,)`, one per pixel.
        labels: Class ids `(n,)`, one per pixel.
        classes: The number of classes N.

    Example:
        >>> round(mean_overlap([0, 0, 1, 1], [0, 1, 1, 1], 3), 3)
        0.583
    """
    return float(np.nanmean(class_overlaps(predicted, labels, classes)))


def explained_variance(outputs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Computes the coefficient of determination: R² = 1 - Σ (y - ŷ)² / Σ (y - mean y)².

    The mean is taken per column, the sums over all values. 1 is perfect, and 0 is as good as always
    predicting the mean.

    Args:
        outputs: The predictions ŷ, `(n, ...)`.
        labels: The labels y, of the same shape.

    Returns:
        R², or NaN if no column of y varies.

    Example:
        >>> explained_variance([[1.0], [2.0], [4.0]], [[1.0], [2.0], [3.0]])
        0.5
    """
    y, got = np.asarray(labels, np.float64), np.asarray(outputs, np.float64)
    spread = ((y - y.mean(axis=0)) ** 2).sum()
    return float(1 - ((y - got) ** 2).sum() / spread) if spread > 0 else float("nan")


def mean_absolute_error(outputs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Computes the mean absolute error, |y - ŷ| over all values, in the unit of the labels.

    Args:
        outputs: The predictions ŷ, `(n, ...)`.
        labels: The labels y, of the same shape.

    Example:
        >>> mean_absolute_error([1.0, 4.0], [2.0, 2.0])
        1.5
    """
    return float(np.abs(np.asarray(labels, np.float64) - np.asarray(outputs, np.float64)).mean())


def reconstruction_errors(outputs: npt.ArrayLike, inputs: npt.ArrayLike) -> Array:
    """Computes the mean squared error between each row and its reconstruction.

    Args:
        outputs: The reconstructions `(n, ...)`.
        inputs: The rows to reconstruct, of the same shape.

    Returns:
        float64 `(n,)`.

    Example:
        >>> reconstruction_errors([[1.0, 1.0], [0.0, 0.0]], [[1.0, 3.0], [0.0, 0.0]]).tolist()
        [2.0, 0.0]
    """
    d = np.asarray(outputs, np.float64) - np.asarray(inputs, np.float64)
    return (d**2).reshape(len(d), -1).mean(axis=1)


def area_under_curve(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Computes the area under the ROC curve: P(score of a positive > score of a negative).

    Pairs with equal scores count as one half. The value is computed from the rank sum of Mann and
    Whitney. Source: Hanley, McNeil 1982 (Radiology 143).

    Args:
        scores: Scores `(n,)`, larger for positives.
        labels: 0 or 1 for each row, `(n,)`. Both must occur.

    Raises:
        InputError: If only one of the two labels occurs.

    Example:
        >>> area_under_curve([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1])
        0.875
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels).reshape(-1) == 1
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        raise InputError(
            f"An AUC needs rows of both kinds. Received: {positives} anomalies among"
            f" {len(truth)} rows."
        )
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[place.reshape(-1)]
    wins = ranks[truth].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))
