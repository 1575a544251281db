"""Losses for a teacher of which only the k largest logits are stored."""

import math

import tensorflow as tf

from keras_distill._internal._soft_targets import TopK
from keras_distill._internal._types import Tensor, TensorLike
from keras_distill.losses._temperature import (
    STANDARD_EPSILON,
    as_float,
    below_top,
    gathered,
    num_classes,
    softened,
    without,
)


def as_topk(teacher: TopK, student: TensorLike) -> tuple[TopK, Tensor]:
    """Returns the parts of the teacher, and the student, in the wider of their dtypes."""
    student = as_float(student)
    parts = [as_float(part) for part in teacher[1:] if part is not None]
    if any(part.dtype != student.dtype for part in parts):
        student, *parts = (tf.cast(part, tf.float64) for part in (student, *parts))
    return TopK(tf.cast(teacher.indices, tf.int32), *parts), student


def log_probabilities(
    teacher: TopK, classes: int, temperature: TensorLike
) -> tuple[Tensor, Tensor]:
    """Computes the log probabilities at T: `(..., k)` for the k classes, `(...)` for the rest.

    "The rest" means all classes that are not stored. The rest's mass is
    (N-k)·exp(`log_mean_exp`(1/T)), and never more than (N-k)·exp(min/T), where min is the smallest
    stored logit: no class of the rest has a larger logit.

    Args:
        teacher: A `TopK` whose parts have the same float dtype.
        classes: N, larger than k.
        temperature: T.
    """
    kept = softened(teacher.logits, temperature)
    rest = log_mean_exp(teacher, softened(tf.ones((), kept.dtype), temperature))
    rest = tf.minimum(rest, tf.reduce_min(kept, axis=-1))
    rest += tf.constant(math.log(classes - teacher.logits.shape[-1]), rest.dtype)
    bins = tf.nn.log_softmax(with_rest(kept, rest))
    return bins[..., :-1], bins[..., -1]


def log_mean_exp(teacher: TopK, beta: Tensor) -> Tensor:
    """Computes L(β) = log of the mean of exp(βz) over the rest's logits z, at β = 1/T: `(...)`.

    The first two terms of the expansion of L in β, mean·β + var·β²/2 + …, are those of a log-normal
    distribution. The logits of real networks are skewed, so the mass from these two terms alone can
    be several times too large at T = 2. If L is known at β = 1/4 and β = 1, terms in β³ and β⁴ are
    added. They make the value exact at these two points, and it stays exact to second order as T
    grows.

    L is convex with L(0) = 0. For β < 1, L therefore lies between the line through the two known
    points and the line through 0 and the point at 1/4; the expansion is clipped to this range. For
    β > 1 (T < 1), L lies above the first line and above β·L(1); the larger of these two values is
    used.

    Args:
        teacher: A `TopK` whose parts have the same float dtype.
        beta: 1/T, of the same dtype.
    """
    mean, var = teacher.rest_mean, teacher.rest_var
    value = beta * (mean + beta * var / 2)
    if teacher.rest_log_mean_exp is None:
        return value
    at_1, at_4 = tf.unstack(teacher.rest_log_mean_exp, axis=-1)
    missing_1, missing_4 = at_1 - mean - var / 2, at_4 - mean / 4 - var / 32
    # missing_1 = c₃ + c₄ and missing_4 = c₃/64 + c₄/256, solved for both.
    fourth = (missing_1 - 64 * missing_4) * 4 / 3
    value += beta**3 * (missing_1 - fourth + beta * fourth)
    through_both = at_4 + (at_1 - at_4) * (4 * beta - 1) / 3
    through_zero = 4 * beta * at_4
    value = tf.maximum(value, tf.minimum(through_both, through_zero))
    value = tf.minimum(value, tf.maximum(through_both, through_zero))
    return tf.where(beta > 1, tf.maximum(through_both, beta * at_1), value)


def log_pair(teacher: TopK, student: TensorLike, temperature: TensorLike) -> tuple[Tensor, Tensor]:
    """Returns log probabilities of both at T over k+1 outcomes: the k classes, and all others.

    By the chain rule, KL over these outcomes is the KL(teacher ‖ student) of dense logits without
    the term P_rest·KL(teacher within the rest ‖ student within the rest), which a `TopK` does not
    contain. Up to the error of the rest's mass, a divergence over these outcomes therefore never
    exceeds the value for dense logits, and it is 0 for a student equal to the teacher. Its gradient
    is that of dense logits in which the teacher's rest is distributed over the classes in the same
    way as the student's rest. Value and gradient are close to those of dense logits if the
    teacher's rest has little mass at T. A higher T therefore needs a larger k.

    The student's rest is computed as a logsumexp over the other classes, never as log(1 - Σ q).

    Args:
        teacher: `TopK` of leading shape `(...)`.
        student: Logits `(..., N)`, N static and >= k.
        temperature: T.

    Returns:
        Two tensors `(..., k+1)` in the wider dtype; `(..., k)` if k = N, which leaves no rest.
    """
    teacher, student = as_topk(teacher, student)
    student = below_top(student, temperature)
    log_z = tf.reduce_logsumexp(student, axis=-1)
    kept = gathered(student, teacher.indices) - tf.expand_dims(log_z, -1)
    if num_classes(student) == teacher.indices.shape[-1]:
        return tf.nn.log_softmax(softened(teacher.logits, temperature)), kept
    log_p, log_rest = log_probabilities(teacher, num_classes(student), temperature)
    rest = tf.reduce_logsumexp(without(student, teacher.indices), axis=-1) - log_z
    return with_rest(log_p, log_rest), with_rest(kept, rest)


def with_rest(kept: Tensor, rest: Tensor) -> Tensor:
    """Returns `(..., k+1)` from `(..., k)` and `(...)`."""
    return tf.concat([kept, tf.expand_dims(rest, -1)], axis=-1)


def standardized(teacher: TopK, classes: int) -> TopK:
    """Returns the `TopK` of the standardized logits.

    The result is exact, because a `TopK` stores the mean and the variance. `rest_log_mean_exp` is
    left out, because after standardization its values would belong to two other temperatures.

    Args:
        teacher: `TopK` of leading shape `(...)`.
        classes: N >= 2.
    """
    kept, rest_mean, rest_var = map(as_float, teacher[1:4])
    k = teacher.indices.shape[-1]
    rest = tf.cast(classes - k, kept.dtype)
    if classes == k:
        rest_mean, rest_var = tf.zeros_like(rest_mean), tf.zeros_like(rest_var)
    mean = (tf.reduce_sum(kept, axis=-1) + rest * rest_mean) / classes
    squares = tf.reduce_sum(tf.square(kept - tf.expand_dims(mean, -1)), axis=-1)
    squares += rest * (rest_var + tf.square(rest_mean - mean))
    scale = STANDARD_EPSILON + tf.sqrt(squares / (classes - 1))
    return TopK(
        teacher.indices,
        (kept - tf.expand_dims(mean, -1)) / tf.expand_dims(scale, -1),
        (rest_mean - mean) / scale,
        rest_var / tf.square(scale),
    )


def squared_difference(teacher: TopK, student: TensorLike) -> Tensor:
    """Computes Σ (s_i - t_i)² over the k classes, plus (N-k)·(difference of the rest's means)².

    The value is never more than the sum over dense logits, and 0 for a student equal to the
    teacher. For zero-mean logits, it is the limit of 2N·T²·`functional.soft_target` as T grows.
    """
    teacher, student = as_topk(teacher, student)
    kept = gathered(student, teacher.indices)
    total = tf.reduce_sum(tf.square(kept - teacher.logits), axis=-1)
    rest = num_classes(student) - teacher.indices.shape[-1]
    if rest == 0:
        return total
    mean = (tf.reduce_sum(student, axis=-1) - tf.reduce_sum(kept, axis=-1)) / rest
    return total + rest * tf.square(mean - teacher.rest_mean)
