"""Losses that compare the softened probabilities of an example; exported by `functional`."""

import math

import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._soft_targets import TopK
from keras_distill._internal._types import TeacherLogits, Tensor, TensorLike
from keras_distill.losses import _topk
from keras_distill.losses._temperature import (
    STANDARD_EPSILON,
    as_float,
    as_pair,
    expected,
    num_classes,
    rescaled,
    softened,
)


def log_softmax(logits: TensorLike, temperature: TensorLike = 1.0) -> Tensor:
    """Computes log softmax(z/T), the softened log probabilities.

    q_i = exp(z_i/T) / Σ_j exp(z_j/T): softmax at T = 1, uniform as T grows.

    Source: Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), section 2, equation 1.

    Args:
        logits: float `(..., N)`.
        temperature: T > 0, a number or a scalar tensor.

    Returns:
        float32 or float64 `(..., N)`.

    Example:
        >>> [round(float(q), 3) for q in tf.exp(log_softmax([8.0, 2.0, 0.5], temperature=5.0))]
        [0.656, 0.198, 0.146]
    """
    return tf.nn.log_softmax(softened(as_float(logits), temperature))


def standardized(logits: TeacherLogits, classes: int | None = None) -> TeacherLogits:
    """Computes (z - mean) / (1e-7 + std) over the classes; std divides by N-1.

    Constant logits give 0.

    Source: Sun, Ren, Li, Wang, Cao 2024 (logit standardization, arXiv:2403.01427), algorithm 1.

    Args:
        logits: float `(..., N)`, N >= 2, or a `TopK`. The result for a `TopK` is exact, because a
            `TopK` stores the mean and the variance of all logits.
        classes: N; required for a `TopK`.

    Returns:
        float32 or float64 `(..., N)`, or the `TopK` of the standardized logits.

    Example:
        >>> standardized([1.0, 2.0, 3.0]).numpy().round(3).tolist()
        [-1.0, 0.0, 1.0]
    """
    if isinstance(logits, TopK):
        if classes is None:
            raise InputError("`classes` must be given for a TopK. Received: classes=None")
        return _topk.standardized(logits, classes)
    return dense_standardized(as_float(logits))


def dense_standardized(logits: Tensor) -> Tensor:
    """Computes `standardized` of float32 or float64 logits `(..., N)`."""
    centered = logits - tf.reduce_mean(logits, axis=-1, keepdims=True)
    squares = tf.reduce_sum(tf.square(centered), axis=-1, keepdims=True)
    some = squares > 0
    deviation = tf.sqrt(tf.where(some, squares, 1) / (num_classes(logits) - 1))
    return centered / (STANDARD_EPSILON + tf.where(some, deviation, 0))


def soft_target(
    teacher: TeacherLogits, student: TensorLike, temperature: TensorLike = 4.0
) -> Tensor:
    """Computes T² · KL(softmax(t/T) ‖ softmax(s/T)).

    This loss differs from the soft cross-entropy only by the teacher's entropy, which is constant.
    Both have the gradient T · (softmax(s/T) - softmax(t/T)). The minimum of this loss is 0.

    Source: Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), section 2.

    Args:
        teacher: float logits `(..., N)`, or a `TopK` of leading shape `(...)`. With a `TopK`, the
            loss compares its k classes and one outcome for all other classes. The value never
            exceeds the value for dense logits (up to the error of the other classes' mass), and is
            0 for a student equal to the teacher.
        student: float logits `(..., N)`.
        temperature: T > 0, a number or a scalar tensor.

    Returns:
        float32 or float64 `(...)`.

    Example:
        >>> round(float(soft_target([2.0, 0.0], [0.0, 0.0], temperature=1.0)), 3)
        0.328
    """
    log_p, log_q = log_pair(teacher, student, temperature)
    return rescaled(expected(tf.exp(log_p), log_p - log_q), temperature)


def soft_cross_entropy(
    teacher: TeacherLogits, student: TensorLike, temperature: TensorLike = 4.0
) -> Tensor:
    """Computes T² · CE(softmax(t/T), softmax(s/T)), for comparison with `soft_target`.

    Source: Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), section 2.

    Args:
        teacher: float logits `(..., N)`.
        student: float logits `(..., N)`.
        temperature: T > 0, a number or a scalar tensor.

    Returns:
        float32 or float64 `(...)`: `soft_target` plus T² times the teacher's entropy.

    Example:
        >>> round(float(soft_cross_entropy([0.0, 0.0], [0.0, 0.0], temperature=1.0)), 3)
        0.693
    """
    teacher, student = as_pair(teacher, student)
    p = tf.exp(log_softmax(teacher, temperature))
    return rescaled(-expected(p, log_softmax(student, temperature)), temperature)


def reverse_kl(
    teacher: TeacherLogits, student: TensorLike, temperature: TensorLike = 4.0
) -> Tensor:
    """Computes T² · KL(softmax(s/T) ‖ softmax(t/T)): `soft_target` with the arguments swapped.

    The loss is large where the student assigns probability and the teacher assigns almost none. The
    student therefore learns the main modes of the teacher instead of covering all of them. T² is
    needed as in `soft_target`: for zero-mean logits, the gradient without T² tends to the same
    limit (s - t)/(N·T²) as T grows.

    Source: Gu, Dong, Wei, Huang 2024 (MiniLLM, arXiv:2306.08543), section 2.1, at T = 1 and for
    a single distribution instead of a sequence.

    Args:
        teacher: float logits `(..., N)`, or a `TopK` of leading shape `(...)`. With a `TopK`, the
            loss compares its k classes and one outcome for all other classes. The value never
            exceeds the value for dense logits (up to the error of the other classes' mass). A
            logit of -inf makes the value infinite.
        student: float logits `(..., N)`.
        temperature: T > 0, a number or a scalar tensor.

    Returns:
        float32 or float64 `(...)`.

    Example:
        >>> round(float(reverse_kl([2.0, 0.0], [0.0, 0.0], temperature=1.0)), 3)
        0.434
    """
    log_p, log_q = log_pair(teacher, student, temperature)
    return rescaled(expected(tf.exp(log_q), log_q - log_p), temperature)


def jensen_shannon(
    teacher: TeacherLogits, student: TensorLike, temperature: TensorLike = 4.0
) -> Tensor:
    """Computes T² · (KL(p ‖ m) + KL(q ‖ m)) / 2, where m = (p + q)/2.

    p = softmax(t/T), q = softmax(s/T). The loss is symmetric and at most T² · ln 2, so an example
    on which teacher and student disagree cannot dominate a batch. T² is needed as in
    `soft_target`: without it, the gradient falls as 1/T². For zero-mean logits, the value tends to
    a quarter of `soft_target` as T grows.

    Source: Lin 1991 (Divergence measures based on the Shannon entropy, IEEE Transactions on
    Information Theory 37), section IV, with equal weights; T² as in Hinton 2015.

    Args:
        teacher: float logits `(..., N)`, or a `TopK` of leading shape `(...)`. With a `TopK`, the
            loss compares its k classes and one outcome for all other classes. The value never
            exceeds the value for dense logits (up to the error of the other classes' mass).
        student: float logits `(..., N)`.
        temperature: T > 0, a number or a scalar tensor.

    Returns:
        float32 or float64 `(...)`.

    Example:
        >>> round(float(jensen_shannon([2.0, 0.0], [0.0, 0.0], temperature=1.0)), 3)
        0.09
    """
    log_p, log_q = log_pair(teacher, student, temperature)
    log_m = tf.reduce_logsumexp(tf.stack([log_p, log_q]), axis=0) - math.log(2)
    value = expected(tf.exp(log_p), log_p - log_m) + expected(tf.exp(log_q), log_q - log_m)
    return rescaled(value / 2, temperature)


def log_pair(
    teacher: TeacherLogits, student: TensorLike, temperature: TensorLike
) -> tuple[Tensor, Tensor]:
    """Returns the log probabilities of teacher and student at T over the compared outcomes.

    Args:
        teacher: float logits `(..., N)`, or a `TopK`.
        student: float logits `(..., N)`.
        temperature: T.

    Returns:
        Two tensors `(..., N)`. With a `TopK` they are `(..., k+1)`, where the last outcome stands
        for all other classes.
    """
    if isinstance(teacher, TopK):
        return _topk.log_pair(teacher, student, temperature)
    teacher, student = as_pair(teacher, student)
    return log_softmax(teacher, temperature), log_softmax(student, temperature)
