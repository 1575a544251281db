"""The soft-target loss against a teacher of which only the k largest logits are kept."""

import math
from typing import Any

import tensorflow as tf

from keras_distill._elements import TopK
from keras_distill.losses._logspace import (
    STANDARD_EPSILON,
    as_float,
    below_top,
    expected,
    gathered,
    num_classes,
    softened,
    without,
)


def as_topk(teacher: TopK, student: Any) -> tuple[TopK, tf.Tensor]:
    """Returns the teacher's parts and the student in the wider of their dtypes."""
    student = as_float(student)
    parts = [as_float(part) for part in (teacher.logits, teacher.rest_mean, teacher.rest_var)]
    if any(part.dtype != student.dtype for part in parts):
        student, *parts = (tf.cast(part, tf.float64) for part in (student, *parts))
    return TopK(tf.cast(teacher.indices, tf.int32), *parts), student


def log_probabilities(teacher: TopK, classes: int, temperature: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """log of the teacher's probabilities at T: `(..., k)` of the kept, `(...)` of all the rest.

    The rest's mass is (N-k)·exp(mean/T + var/(2T²)), and never more than (N-k)·exp(min/T), where
    min is the smallest logit kept: no class of the rest has a larger one.

    Args:
        teacher: With parts of one float dtype.
        classes: N, larger than k.
        temperature: T.
    """
    kept = softened(teacher.logits, temperature)
    rest = softened(teacher.rest_mean, temperature)
    rest += softened(softened(teacher.rest_var, temperature), temperature) / 2
    rest = tf.minimum(rest, tf.reduce_min(kept, axis=-1))
    rest += tf.constant(math.log(classes - kept.shape[-1]), rest.dtype)
    bins = tf.nn.log_softmax(tf.concat([kept, rest[..., None]], axis=-1))
    return bins[..., :-1], bins[..., -1]


def divergence(teacher: TopK, student: Any, temperature: Any) -> tf.Tensor:
    """KL(teacher ‖ student) at T over k+1 outcomes: the k kept classes and "any other".

    By the chain rule this is the dense KL less P_rest·KL(teacher within the rest ‖ student within
    the rest), of which a `TopK` knows nothing. So, up to the error of the rest's mass, it never
    exceeds the dense value and is 0 for a student equal to the teacher; its gradient is the dense
    one with the teacher's rest spread over the classes as the student's own rest is. Both come
    near the dense ones where the teacher's rest has little mass at T: the warmer, the larger k.
    The student's rest is a logsumexp over the classes left out, never log(1 - Σ q).

    Args:
        teacher: `TopK` of leading shape `(...)`.
        student: Logits `(..., N)`, N static and >= k.
        temperature: T.

    Returns:
        `(...)`, in the wider dtype; not yet times T².
    """
    teacher, student = as_topk(teacher, student)
    student = below_top(student, temperature)
    log_z = tf.reduce_logsumexp(student, axis=-1)
    kept = gathered(student, teacher.indices) - log_z[..., None]
    if num_classes(student) == teacher.indices.shape[-1]:
        log_p = tf.nn.log_softmax(softened(teacher.logits, temperature))
        return expected(tf.exp(log_p), log_p - kept)
    log_p, log_rest = log_probabilities(teacher, num_classes(student), temperature)
    rest = tf.reduce_logsumexp(without(student, teacher.indices), axis=-1) - log_z
    return expected(tf.exp(log_p), log_p - kept) + tf.math.multiply_no_nan(
        log_rest - rest, tf.exp(log_rest)
    )


def standardized(teacher: TopK, classes: int) -> TopK:
    """The `TopK` of the standardised logits, exactly: a `TopK` holds their mean and variance.

    Args:
        teacher: `TopK` of leading shape `(...)`.
        classes: N >= 2.
    """
    kept, rest_mean, rest_var = map(as_float, teacher[1:])
    rest = tf.cast(classes - kept.shape[-1], kept.dtype)
    if classes == kept.shape[-1]:
        rest_mean, rest_var = tf.zeros_like(rest_mean), tf.zeros_like(rest_var)
    mean = (tf.reduce_sum(kept, axis=-1) + rest * rest_mean) / classes
    squares = tf.reduce_sum(tf.square(kept - mean[..., None]), axis=-1)
    squares += rest * (rest_var + tf.square(rest_mean - mean))
    scale = STANDARD_EPSILON + tf.sqrt(squares / (classes - 1))
    return TopK(
        teacher.indices,
        (kept - mean[..., None]) / scale[..., None],
        (rest_mean - mean) / scale,
        rest_var / tf.square(scale),
    )


def squared_difference(teacher: TopK, student: Any) -> tf.Tensor:
    """Σ (s_i - t_i)² over the kept classes, plus (N-k)·(difference of the rest's means)².

    Never more than the dense sum, and 0 for a student equal to the teacher; for zero-meaned logits
    the limit of 2N·T²·`divergence` as T grows.
    """
    teacher, student = as_topk(teacher, student)
    kept = gathered(student, teacher.indices)
    total = tf.reduce_sum(tf.square(kept - teacher.logits), axis=-1)
    rest = num_classes(student) - kept.shape[-1]
    if rest == 0:
        return total
    mean = (tf.reduce_sum(student, axis=-1) - tf.reduce_sum(kept, axis=-1)) / rest
    return total + rest * tf.square(mean - teacher.rest_mean)
