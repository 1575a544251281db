"""Measures the quality of logits with NumPy functions, for benchmarks and reports.

- Logits are `(..., N)`, and labels are integer class ids `(...)` or one-hot rows `(..., N)`. Every
  leading position is an example. Examples with the label -1 (unlabeled) are left out.
- Logits `(..., 1)` are the logits of class 1 of two classes. The labels are then 0 and 1.
- With `task=Task.MULTI_LABEL`, or labels `(..., N)` that are rows of 0 and 1 but not all one-hot,
  each of the N labels is an example of two classes.
- Sigmoid outputs may also be probabilities. They are recognized if all of them are in 0..1.
- Values are computed in float64 and returned as Python floats.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import optimize

from keras_distill._internal import InputError, check_count
from keras_distill._internal._probabilities import Declared
from keras_distill._internal._types import Array
from keras_distill.metrics._class_rows import class_rows, logit_rows
from keras_distill.metrics._task import Task


def accuracy(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    task: Task | None = None,
    from_probabilities: Declared = None,
) -> float:
    """Computes the share of examples whose largest logit is the logit of the label.

    If several logits are the largest, the first class counts as predicted.

    Args:
        logits: Logits `(..., N)`.
        labels: Class ids `(...)`, one-hot rows `(..., N)`, or for several labels, rows `(..., N)`
            of 0 and 1. Labels of -1 (unlabeled) are left out.
        task: What the outputs predict. If None, it is inferred from the labels.
        from_probabilities: Whether the outputs are probabilities. If None, sigmoid outputs in 0..1
            count as probabilities, and softmax outputs as logits.

    Raises:
        InputError: If shapes do not match, no example is labeled, or a logit is NaN.

    Example:
        >>> accuracy([[2.0, 1.0], [0.0, 3.0]], [0, 0])
        0.5
        >>> accuracy([[2.0], [-1.0]], [1, 1])
        0.5
    """
    return top_k_accuracy(logits, labels, 1, task=task, from_probabilities=from_probabilities)


def top_k_accuracy(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    k: int = 5,
    *,
    task: Task | None = None,
    from_probabilities: Declared = None,
) -> float:
    """Computes the share of examples whose label is among the k largest logits.

    Equal logits are ranked in class order.

    Args:
        logits: Logits `(..., N)`. If there are at most k classes, the value is 1.
        labels: Class ids `(...)`, one-hot rows `(..., N)`, or for several labels, rows `(..., N)`
            of 0 and 1. Labels of -1 (unlabeled) are left out.
        k: How many of the largest logits count, 1 or more.
        task: What the outputs predict. If None, it is inferred from the labels.
        from_probabilities: Whether the outputs are probabilities. If None, sigmoid outputs in 0..1
            count as probabilities, and softmax outputs as logits.

    Raises:
        InputError: If shapes do not match, no example is labeled, or a logit is NaN.

    Example:
        >>> top_k_accuracy([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]], [1, 2], k=2)
        0.5
    """
    check_count("k", k)
    z, ids = class_rows(logits, labels, task=task, from_probabilities=from_probabilities)
    own = np.take_along_axis(z, ids[:, None], axis=1)
    before = np.arange(z.shape[1]) < ids[:, None]
    rank = ((z > own) | ((z == own) & before)).sum(axis=1)
    return float((rank < k).mean())


def agreement(
    teacher: npt.ArrayLike,
    student: npt.ArrayLike,
    *,
    task: Task | None = None,
    from_probabilities: Declared = None,
) -> float:
    """Computes the share of examples for which teacher and student predict the same class.

    The measure is also called fidelity. It does not depend on whether the teacher is right.

    Args:
        teacher: Logits `(..., N)`.
        student: Logits `(..., N)`. For two classes, one model may have one logit `(..., 1)` and the
            other two logits `(..., 2)`; `task` is then ignored.
        task: What the outputs predict. If None, two classes for N = 1, otherwise one of N classes.
        from_probabilities: Whether the outputs are probabilities. If None, sigmoid outputs in 0..1
            count as probabilities, and softmax outputs as logits.

    Raises:
        InputError: If the shapes differ, there is no example, or a logit is NaN.

    Example:
        >>> agreement([[2.0, 1.0], [0.0, 3.0]], [[9.0, 1.0], [1.0, 0.0]])
        0.5
        >>> agreement([[2.0], [-1.0]], [[0.0, 3.0], [0.0, 3.0]])
        0.5
    """
    sides = np.asarray(teacher), np.asarray(student)
    shapes = sides[0].shape, sides[1].shape
    two = {shape[-1:] for shape in shapes} == {(1,), (2,)}
    if shapes[0] != shapes[1] and not (two and shapes[0][:-1] == shapes[1][:-1]):
        raise InputError(
            "Teacher and student logits must have the same shape."
            f" Received: {shapes[0]} and {shapes[1]}."
        )
    rows = [logit_rows(side, None if two else task, from_probabilities) for side in sides]
    if not len(rows[0]):
        raise InputError("There must be at least one example. Received: none.")
    return float((rows[0].argmax(axis=1) == rows[1].argmax(axis=1)).mean())


def negative_log_likelihood(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    task: Task | None = None,
    from_probabilities: Declared = None,
) -> float:
    """Computes the negative log-likelihood: the mean of -log softmax(z)[label], in nats.

    Args:
        logits: Logits `(..., N)`.
        labels: Class ids `(...)`, one-hot rows `(..., N)`, or for several labels, rows `(..., N)`
            of 0 and 1. Labels of -1 (unlabeled) are left out.
        task: What the outputs predict. If None, it is inferred from the labels.
        from_probabilities: Whether the outputs are probabilities. If None, sigmoid outputs in 0..1
            count as probabilities, and softmax outputs as logits.

    Raises:
        InputError: If shapes do not match, no example is labeled, or a logit is NaN.

    Example:
        >>> round(negative_log_likelihood([[0.0, 0.0]], [1]), 4)
        0.6931
    """
    return _nll(*class_rows(logits, labels, task=task, from_probabilities=from_probabilities))


def expected_calibration_error(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    bins: int = 15,
    *,
    task: Task | None = None,
    from_probabilities: Declared = None,
) -> float:
    """Computes the expected calibration error, with bins of equal width.

    ECE = Σ_m |B_m|/n · |accuracy(B_m) - confidence(B_m)|. Bin B_m of M holds the examples whose
    confidence, the largest softmax probability, is in ((m-1)/M, m/M]. Source: Guo, Pleiss, Sun,
    Weinberger 2017 (arXiv:1706.04599), section 2, with M = 15 as in the paper.

    Args:
        logits: Logits `(..., N)`.
        labels: Class ids `(...)`, one-hot rows `(..., N)`, or for several labels, rows `(..., N)`
            of 0 and 1. Labels of -1 (unlabeled) are left out.
        bins: The number of bins M.
        task: What the outputs predict. If None, it is inferred from the labels.
        from_probabilities: Whether the outputs are probabilities. If None, sigmoid outputs in 0..1
            count as probabilities, and softmax outputs as logits.

    Returns:
        The error, in 0..1.

    Raises:
        InputError: If shapes do not match, no example is labeled, or a logit is NaN.

    Example:
        >>> z = np.log([[0.8, 0.2], [0.8, 0.2]])
        >>> round(expected_calibration_error(z, [0, 1]), 6)
        0.3
    """
    check_count("bins", bins)
    z, ids = class_rows(logits, labels, task=task, from_probabilities=from_probabilities)
    confidence = np.exp(_log_softmax(z).max(axis=1))
    right = z.argmax(axis=1) == ids
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(index, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(ids))


def calibration_temperature(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    task: Task | None = None,
    from_probabilities: Declared = None,
) -> float:
    """Finds the temperature T that minimizes the negative log-likelihood of `logits / T`.

    T > 1 means that the logits are overconfident. Dividing by T does not change the predicted
    class. T is searched in 0.01..100. Source: Guo, Pleiss, Sun, Weinberger 2017
    (arXiv:1706.04599), section 4.2.

    Args:
        logits: Logits `(..., N)` of examples that the model was not trained on.
        labels: Class ids `(...)`, one-hot rows `(..., N)`, or for several labels, rows `(..., N)`
            of 0 and 1. Labels of -1 (unlabeled) are left out.
        task: What the outputs predict. If None, it is inferred from the labels.
        from_probabilities: Whether the outputs are probabilities. If None, sigmoid outputs in 0..1
            count as probabilities, and softmax outputs as logits.

    Raises:
        InputError: If shapes do not match, no example is labeled, or a logit is NaN.

    Example:
        >>> z = [[3.0, 0.0]] * 4  # 95 % confidence, right in 3 of 4
        >>> round(calibration_temperature(z, [0, 0, 0, 1]), 2), round(3 / math.log(3), 2)
        (2.73, 2.73)
    """
    z, ids = class_rows(logits, labels, task=task, from_probabilities=from_probabilities)
    found = optimize.minimize_scalar(
        lambda log_t: _nll(z / math.exp(log_t), ids),
        bounds=(math.log(0.01), math.log(100)),
        method="bounded",
    )
    return math.exp(found.x)


def _nll(logits: Array, ids: Array) -> float:
    return float(-np.take_along_axis(_log_softmax(logits), ids[:, None], axis=1).mean())


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
