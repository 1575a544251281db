"""Measures of the quality of logits, as NumPy functions: for benchmarks and reports.

Logits are `(..., N)`, labels int class ids `(...)`; every leading position is an example, and label
-1 (unlabeled) is left out. Logits `(..., 1)` are those of class 1 of two, with labels 0 and 1. With
rows of 0 and 1 as labels, `(..., N)`, or `task=Task.MULTI_LABEL`, each of the N labels is an
example of two classes. Outputs under a sigmoid may be probabilities too: they are recognized if all
of them are in 0..1. Values are computed in float64 and returned as Python floats.
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
    """Computes the share of examples whose largest logit is the label's; of equal ones, the first.

    Args:
        logits: `(..., N)`.
        labels: Class ids `(...)`, or rows `(..., N)` of 0 and 1; -1 is left out.
        task: What the outputs predict; None: read from the labels.
        from_probabilities: Whether the outputs are probabilities; None: see the module.

    Raises:
        InputError: If shapes do not fit, there is no example, or a logit is NaN.

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

    Equal logits are taken in class order.

    Args:
        logits: `(..., N)`. With N <= k the value is 1.
        labels: Class ids `(...)`, or rows `(..., N)` of 0 and 1; -1 is left out.
        k: 1 or more.
        task: What the outputs predict; None: read from the labels.
        from_probabilities: Whether the outputs are probabilities; None: see the module.

    Raises:
        InputError: If shapes do not fit, there is no example, or a logit is NaN.

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

    Also called fidelity: it does not depend on whether the teacher is right.

    Args:
        teacher: Logits `(..., N)`.
        student: Logits `(..., N)`. One logit and two logits of two classes may be compared.
        task: What the outputs predict; None: two classes for N = 1, else one of N classes.
        from_probabilities: Whether the outputs are probabilities; None: see the module.

    Raises:
        InputError: If shapes differ, there is no example, or a logit is NaN.

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
    """Computes the mean of -log softmax(z)[label], in nats.

    Args:
        logits: `(..., N)`.
        labels: Class ids `(...)`, or rows `(..., N)` of 0 and 1; -1 is left out.
        task: What the outputs predict; None: read from the labels.
        from_probabilities: Whether the outputs are probabilities; None: see the module.

    Raises:
        InputError: If shapes do not fit, there is no example, or a logit is NaN.

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
    """Computes Σ_m |B_m|/n · |accuracy(B_m) - confidence(B_m)| over bins of equal width.

    Bin m of M holds the examples whose confidence, the largest softmax probability, is in
    ((m-1)/M, m/M]. Source: Guo, Pleiss, Sun, Weinberger 2017 (arXiv:1706.04599), section 2,
    with their M = 15.

    Args:
        logits: `(..., N)`.
        labels: Class ids `(...)`, or rows `(..., N)` of 0 and 1; -1 is left out.
        bins: M.
        task: What the outputs predict; None: read from the labels.
        from_probabilities: Whether the outputs are probabilities; None: see the module.

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
    """Finds the T > 0 at which `softmax(logits / T)` gives the labels the smallest mean -log p.

    T > 1 means that the logits are overconfident. The predicted class does not change. The search
    is over 0.01..100. Source: Guo, Pleiss, Sun, Weinberger 2017 (arXiv:1706.04599), section 4.2.

    Args:
        logits: `(..., N)`, of examples that the model was not trained on.
        labels: Class ids `(...)`, or rows `(..., N)` of 0 and 1; -1 is left out.
        task: What the outputs predict; None: read from the labels.
        from_probabilities: Whether the outputs are probabilities; None: see the module.

    Raises:
        InputError: If shapes do not fit, there is no example, or a logit is NaN.

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
