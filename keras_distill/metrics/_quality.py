"""Measures of the quality of logits, as NumPy functions: for benchmarks and reports.

Logits are `(..., N)`, labels int class ids `(...)`; every leading position is an example, and label
-1 (unlabeled) is left out. Values are computed in float64 and returned as Python floats.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import optimize

from keras_distill._internal import InputError, check_count
from keras_distill._internal._types import Array


def accuracy(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Computes the share of examples whose largest logit is the label's; of equal ones, the first.

    Args:
        logits: `(..., N)`.
        labels: Class ids `(...)`; -1 is left out.

    Raises:
        InputError: If shapes do not fit, there is no example, or a logit is NaN.

    Example:
        >>> accuracy([[2.0, 1.0], [0.0, 3.0]], [0, 0])
        0.5
    """
    return top_k_accuracy(logits, labels, k=1)


def top_k_accuracy(logits: npt.ArrayLike, labels: npt.ArrayLike, k: int = 5) -> float:
    """Computes the share of examples whose label is among the k largest logits.

    Equal logits are taken in class order.

    Args:
        logits: `(..., N)`. With N <= k the value is 1.
        labels: Class ids `(...)`; -1 is left out.
        k: 1 or more.

    Raises:
        InputError: If shapes do not fit, there is no example, or a logit is NaN.

    Example:
        >>> top_k_accuracy([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]], [1, 2], k=2)
        0.5
    """
    check_count("k", k)
    logits, labels = _checked(logits, labels)
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    before = np.arange(logits.shape[1]) < labels[:, None]
    rank = ((logits > own) | ((logits == own) & before)).sum(axis=1)
    return float((rank < k).mean())


def agreement(teacher: npt.ArrayLike, student: npt.ArrayLike) -> float:
    """Computes the share of examples for which teacher and student predict the same class.

    Also called fidelity: it does not depend on whether the teacher is right.

    Args:
        teacher: Logits `(..., N)`.
        student: Logits `(..., N)`.

    Raises:
        InputError: If shapes differ, there is no example, or a logit is NaN.

    Example:
        >>> agreement([[2.0, 1.0], [0.0, 3.0]], [[9.0, 1.0], [1.0, 0.0]])
        0.5
    """
    teacher, student = np.asarray(teacher), np.asarray(student)
    if teacher.shape != student.shape:
        raise InputError(
            "Teacher and student logits must have the same shape."
            f" Received: {teacher.shape} and {student.shape}."
        )
    _checked(teacher, None)
    return accuracy(student, teacher.argmax(axis=-1))


def negative_log_likelihood(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Computes the mean of -log softmax(z)[label], in nats.

    Args:
        logits: `(..., N)`.
        labels: Class ids `(...)`; -1 is left out.

    Raises:
        InputError: If shapes do not fit, there is no example, or a logit is NaN.

    Example:
        >>> round(negative_log_likelihood([[0.0, 0.0]], [1]), 4)
        0.6931
    """
    logits, labels = _checked(logits, labels)
    return float(-np.take_along_axis(_log_softmax(logits), labels[:, None], axis=1).mean())


def expected_calibration_error(
    logits: npt.ArrayLike, labels: npt.ArrayLike, bins: int = 15
) -> float:
    """Computes Σ_m |B_m|/n · |accuracy(B_m) - confidence(B_m)| over bins of equal width.

    Bin m of M holds the examples whose confidence, the largest softmax probability, is in
    ((m-1)/M, m/M]. Source: Guo, Pleiss, Sun, Weinberger 2017 (arXiv:1706.04599), section 2,
    with their M = 15.

    Args:
        logits: `(..., N)`.
        labels: Class ids `(...)`; -1 is left out.
        bins: M.

    Returns:
        In 0..1.

    Raises:
        InputError: If shapes do not fit, there is no example, or a logit is NaN.

    Example:
        >>> z = np.log([[0.8, 0.2], [0.8, 0.2]])
        >>> round(expected_calibration_error(z, [0, 1]), 6)
        0.3
    """
    check_count("bins", bins)
    logits, labels = _checked(logits, labels)
    confidence = np.exp(_log_softmax(logits).max(axis=1))
    right = logits.argmax(axis=1) == labels
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(index, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def calibration_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Finds the T > 0 at which `softmax(logits / T)` gives the labels the smallest mean -log p.

    T > 1 means that the logits are overconfident. The predicted class does not change. The search
    is over 0.01..100. Source: Guo, Pleiss, Sun, Weinberger 2017 (arXiv:1706.04599), section 4.2.

    Args:
        logits: `(..., N)`, of examples that the model was not trained on.
        labels: Class ids `(...)`; -1 is left out.

    Raises:
        InputError: If shapes do not fit, there is no example, or a logit is NaN.

    Example:
        >>> z = [[3.0, 0.0]] * 4  # 95 % confidence, right in 3 of 4
        >>> round(calibration_temperature(z, [0, 0, 0, 1]), 2), round(3 / math.log(3), 2)
        (2.73, 2.73)
    """
    logits, labels = _checked(logits, labels)
    found = optimize.minimize_scalar(
        lambda log_t: negative_log_likelihood(logits / math.exp(log_t), labels),
        bounds=(math.log(0.01), math.log(100)),
        method="bounded",
    )
    return math.exp(found.x)


def _checked(logits: npt.ArrayLike, labels: npt.ArrayLike | None) -> tuple[Array, Array]:
    """Returns logits `(n, N)` float64 and labels `(n,)` int, without the examples of label -1."""
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise InputError(f"`logits` must be (..., N). Received: shape {logits.shape}")
    shape = logits.shape[:-1]
    labels = np.zeros(shape, int) if labels is None else np.asarray(labels)
    if labels.shape != shape or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"`labels` must be class ids of shape {shape}."
            f" Received: {labels.dtype} of shape {labels.shape}"
        )
    logits, labels = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    logits, labels = logits[labels != -1], labels[labels != -1]
    if not len(labels):
        raise InputError("There must be at least one labeled example. Received: none.")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise InputError(
            f"`labels` must be in 0..{logits.shape[1] - 1}."
            f" Received: {labels.min()}..{labels.max()}"
        )
    if np.isnan(logits).any():
        raise InputError("`logits` must not contain NaN.")
    return logits, labels


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
