"""The losses against a teacher of which only the k largest logits are kept."""

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
    """Returns the teacher's parts and the student in the wider of their dtypes."""
    student = as_float(student)
    parts = [as_float(part) for part in teacher[1:] if part is not None]
    if any(part.dtype != student.dtype for part in parts):
        student, *parts = (tf.cast(part, tf.float64) for part in (student, *parts))
    return TopK(tf.cast(teacher.indices, tf.int32), *parts), student


def log_probabilities(
    teacher: TopK, classes: int, temperature: TensorLike
) -> tuple[Tensor, Tensor]:
    """Computes the log probabilities at T: `(..., k)` of the k classes, `(...)` of the rest.

    The rest's mass is (N-k)·exp(`log_mean_exp`(1/T)), and never more than (N-k)·exp(min/T), where
    min is the smallest logit kept: no class of the rest has a larger one.

    Args:
        teacher: With parts of one float dtype.
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

    Of its expansion in β, mean·β + var·β²/2 + …, the first two terms are those of a log-normal. The
    logits of real networks are skewed, and at T = 2 that can be several times too much. Where L is
    known at β = 1/4 and β = 1, terms in β³ and β⁴ make it exact there, and it stays exact to second
    order as T grows.

    L is convex with L(0) = 0. So for β < 1 it lies between the line through the two known points
    and the line through 0 and the point at 1/4, and for β > 1 above the former and above β·L(1):
    the expansion is held between the lines, and colder than T = 1 the higher of the two is taken.

    Args:
        teacher: With parts of one float dtype.
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

    Of KL(teacher ‖ student), by the chain rule, these outcomes leave out
    P_rest·KL(teacher within the rest ‖ student within the rest), of which a `TopK` knows nothing.
    So, up to the error of the rest's mass, a divergence over them never exceeds the dense value and
    is 0 for a student equal to the teacher; its gradient is the dense one with the teacher's rest
    distributed over the classes as the student's own rest is. Both are close to the dense ones
    where the teacher's rest has little mass at T: a higher T needs a larger k.
    The student's rest is a logsumexp over the classes left out, never log(1 - Σ q).

    Args:
        teacher: `TopK` of leading shape `(...)`.
        student: Logits `(..., N)`, N static and >= k.
        temperature: T.

    Returns:
        Two tensors `(..., k+1)` in the wider dtype, `(..., k)` where k = N leaves no rest.
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
    """Returns the `TopK` of the standardized logits, exactly: it holds their mean and variance.

    `rest_log_mean_exp` is left out: it would be that of two other temperatures.

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
    """Computes Σ (s_i - t_i)² over the kept classes, plus (N-k)·(difference of the rest's means)².

    Never more than the dense sum, and 0 for a student equal to the teacher; for zero-meaned logits
    the limit of 2N·T²·`functional.soft_target` as T grows.
    """
    teacher, student = as_topk(teacher, student)
    kept = gathered(student, teacher.indices)
    total = tf.reduce_sum(tf.square(kept - teacher.logits), axis=-1)
    rest = num_classes(student) - teacher.indices.shape[-1]
    if rest == 0:
        return total
    mean = (tf.reduce_sum(student, axis=-1) - tf.reduce_sum(kept, axis=-1)) / rest
    return total + rest * tf.square(mean - teacher.rest_mean)
