"""The losses as pure functions on tensors, in log space.

Logits have any leading shape `(...)` and the classes last; a value per leading position comes
back. float64 stays float64, half precision is computed in float32. `tf.Tensor` in and out; arrays
and lists are converted.
"""

from typing import Any

import tensorflow as tf

from keras_distill._elements import TopK
from keras_distill.losses import _topk
from keras_distill.losses._logspace import (
    as_float,
    as_pair,
    expected,
    rescaled,
    softened,
)


def log_softmax(logits: Any, temperature: Any = 1.0) -> tf.Tensor:
    """log softmax(z/T), the softened log probabilities.

    q_i = exp(z_i/T) / Σ_j exp(z_j/T): softmax at T = 1, uniform as T grows. Source: Hinton,
    Vinyals, Dean 2015, equation 1.

    Args:
        logits: `(..., N)`.
        temperature: T > 0, a number or a scalar tensor.

    Returns:
        `(..., N)`.

    Example:
        >>> [round(float(q), 3) for q in tf.exp(log_softmax([8.0, 2.0, 0.5], temperature=5.0))]
        [0.656, 0.198, 0.146]
    """
    return tf.nn.log_softmax(softened(as_float(logits), temperature))


def soft_target(teacher: Any, student: Any, temperature: Any = 4.0) -> tf.Tensor:
    """T² · KL(softmax(t/T) ‖ softmax(s/T)).

    It differs from the soft cross-entropy by the teacher's entropy, a constant: the gradient,
    T · (softmax(s/T) - softmax(t/T)), is the same, and 0 is reached. Source: Hinton, Vinyals,
    Dean 2015, section 2.

    Args:
        teacher: Logits `(..., N)`, or a `TopK` of leading shape `(...)`: then the k classes kept
            and "any other" are the outcomes compared, which never exceeds the dense value
            (up to the error of the rest's mass) and is 0 for an equal student.
        student: Logits `(..., N)`.
        temperature: T > 0, a number or a scalar tensor.

    Returns:
        `(...)`.

    Example:
        >>> round(float(soft_target([2.0, 0.0], [0.0, 0.0], temperature=1.0)), 3)
        0.328
    """
    if isinstance(teacher, TopK):
        return rescaled(_topk.divergence(teacher, student, temperature), temperature)
    teacher, student = as_pair(teacher, student)
    log_p = log_softmax(teacher, temperature)
    log_q = log_softmax(student, temperature)
    return rescaled(expected(tf.exp(log_p), log_p - log_q), temperature)


def soft_cross_entropy(teacher: Any, student: Any, temperature: Any = 4.0) -> tf.Tensor:
    """T² · CE(softmax(t/T), softmax(s/T)), for comparison; the losses report the divergence.

    Args:
        teacher: Logits `(..., N)`.
        student: Logits `(..., N)`.
        temperature: T > 0.

    Returns:
        `(...)`: `soft_target` plus T² times the teacher's entropy.

    Example:
        >>> round(float(soft_cross_entropy([0.0, 0.0], [0.0, 0.0], temperature=1.0)), 3)
        0.693
    """
    teacher, student = as_pair(teacher, student)
    p = tf.exp(log_softmax(teacher, temperature))
    return rescaled(-expected(p, log_softmax(student, temperature)), temperature)


def has_nan(teacher: Any) -> tf.Tensor:
    """Whether a teacher's logits, or any part of a `TopK`, hold a NaN: a scalar bool.

    Infinite logits are no error: -inf is a class ruled out.

    Example:
        >>> bool(has_nan([[1.0, float("nan")]])), bool(has_nan([[1.0, float("-inf")]]))
        (True, False)
    """
    parts = teacher[1:] if isinstance(teacher, TopK) else [teacher]
    return tf.reduce_any([tf.reduce_any(tf.math.is_nan(as_float(part))) for part in parts])
