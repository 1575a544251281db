"""Losses that compare the examples of a batch by their logits; exported by `functional`."""

from collections.abc import Sequence

import tensorflow as tf

from keras_distill._internal._types import TeacherLogits, Tensor, TensorLike
from keras_distill.losses._divergences import dense_standardized
from keras_distill.losses._temperature import (
    as_pair,
    expected,
    num_classes,
    number,
    rescaled,
    softened,
)

# This fraction of a row's sum of squares is added to the sum of squares of its centered values, so
# that the gradient at a constant row is finite. It is far below the sum of squares of a row whose
# values differ. _TINY is for rows of zeros.
_FLAT = 1e-12
_TINY = 1e-30


def dist(
    teacher: TeacherLogits,
    student: TensorLike,
    temperature: TensorLike = 1.0,
    inter_weight: TensorLike = 1.0,
    intra_weight: TensorLike = 1.0,
    keep: TensorLike | None = None,
) -> Tensor:
    """Computes T² · (w_inter · mean_rows(1 - ρ) + w_intra · mean_columns(1 - ρ)).

    ρ is the Pearson correlation. A row holds the class probabilities softmax(z/T) of an example; a
    column holds the probabilities of a class over the examples. The correlation with a constant is
    undefined: 1 - ρ is then 1, or 0 if both are constant (as every column in a batch of one is).

    Source: Huang, You, Wang, Qian, Xu 2022 (DIST, arXiv:2205.10536), section 4.

    Args:
        teacher: float logits `(..., N)`, N >= 2; leading axes are flattened to rows.
        student: float logits `(..., N)`.
        temperature: T > 0.
        inter_weight: Weight of the row term.
        intra_weight: Weight of the column term.
        keep: None, or `(rows,)` of 1 and 0. Rows with 0 are left out.

    Returns:
        A scalar.

    Example:
        >>> z = tf.constant([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [1.0, 0.0, 0.0]])
        >>> abs(round(float(dist(z, z)), 4))
        0.0
    """
    teacher, student = as_pair(teacher, student)
    classes = num_classes(student)
    p = tf.reshape(tf.nn.softmax(softened(teacher, temperature)), (-1, classes))
    q = tf.reshape(tf.nn.softmax(softened(student, temperature)), (-1, classes))
    keep = tf.ones_like(p[:, 0]) if keep is None else tf.cast(keep, p.dtype)
    rows = tf.reduce_sum(keep)
    inter = tf.math.divide_no_nan(tf.reduce_sum(keep * _row_distances(p, q)), rows)
    intra = tf.reduce_mean(_row_distances(tf.transpose(p), tf.transpose(q), keep))
    weighted = number(inter_weight, p.dtype) * inter + number(intra_weight, p.dtype) * intra
    return rescaled(weighted, temperature)


def multi_level(
    teacher: TeacherLogits,
    student: TensorLike,
    temperatures: Sequence[float] = (2.0, 3.0, 4.0, 5.0, 6.0),
    instance_weight: TensorLike = 1.0,
    batch_weight: TensorLike = 1.0,
    class_weight: TensorLike = 1.0,
    standardize: bool = False,
    keep: TensorLike | None = None,
) -> Tensor:
    """Computes Σ_T (w_i · T² · KL + w_b · ‖P·Pᵀ - Q·Qᵀ‖²/B + w_c · ‖Pᵀ·P - Qᵀ·Q‖²/N).

    P and Q `(B, N)` are the teacher's and the student's softmax(z/T), one row per example. KL is
    the mean of KL(p ‖ q) over the rows, and the norms are Frobenius norms. P·Pᵀ compares the
    examples of the batch with each other; Pᵀ·P compares the classes with each other.

    T² is applied only to the divergence, whose gradient falls as 1/T², as in the authors' code. The
    two other terms are differences of products of probabilities. The paper does not rescale them,
    so their weight relative to the divergence falls as T grows.

    Source: Jin, Wang, Lin 2023 (Multi-Level Logit Distillation, CVPR), section 3, and the
    temperatures of their code. Not implemented: the masks of their code, which restrict weakly
    augmented images to the half on which the teacher is least confident. `standardize`: Sun et al.
    2024 (arXiv:2403.01427), algorithm 1.

    Args:
        teacher: float logits `(..., N)`, N >= 2; leading axes are flattened to rows.
        student: float logits `(..., N)`.
        temperatures: One or more T > 0; the terms of all temperatures are summed.
        instance_weight: w_i.
        batch_weight: w_b. This term holds two matrices of rows x rows.
        class_weight: w_c. This term holds two matrices of N x N.
        standardize: Whether logits are first passed through `standardized`.
        keep: None, or `(rows,)` of 1 and 0. Rows with 0 are left out.

    Returns:
        A scalar.

    Example:
        >>> t, s = [[2.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]
        >>> round(float(multi_level(t, s, [1.0])), 3)
        0.664
    """
    teacher, student = as_pair(teacher, student)
    classes = num_classes(student)
    t, s = (tf.reshape(z, (-1, classes)) for z in (teacher, student))
    if standardize:
        t, s = dense_standardized(t), dense_standardized(s)
    keep = tf.ones_like(s[:, 0]) if keep is None else tf.cast(keep, s.dtype)
    rows = tf.reduce_sum(keep)
    w_i, w_b, w_c = (number(w, s.dtype) for w in (instance_weight, batch_weight, class_weight))
    total = tf.zeros((), s.dtype)
    for temperature in temperatures:
        log_p, log_q = (tf.nn.log_softmax(softened(z, temperature)) for z in (t, s))
        p, q = tf.exp(log_p), tf.exp(log_q)
        kl = tf.reduce_sum(keep * expected(p, log_p - log_q))
        total += w_i * rescaled(tf.math.divide_no_nan(kl, rows), temperature)
        p, q = p * keep[:, None], q * keep[:, None]
        examples = tf.matmul(p, p, transpose_b=True) - tf.matmul(q, q, transpose_b=True)
        total += w_b * tf.math.divide_no_nan(tf.reduce_sum(tf.square(examples)), rows)
        pairs = tf.matmul(p, p, transpose_a=True) - tf.matmul(q, q, transpose_a=True)
        total += w_c * tf.reduce_sum(tf.square(pairs)) / classes
    return total


def _row_distances(a: Tensor, b: Tensor, keep: Tensor | None = None) -> Tensor:
    """Returns 1 - Pearson correlation of the rows of `a` with those of `b`, over kept columns."""
    keep = tf.ones(tf.shape(a)[1:], a.dtype) if keep is None else keep
    (a, norm_a, flat_a), (b, norm_b, flat_b) = (_centered(x, keep) for x in (a, b))
    distance = 1 - tf.reduce_sum(a * b, axis=1) / (norm_a * norm_b)
    return tf.where(flat_a & flat_b, tf.zeros_like(distance), distance)


def _centered(x: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns centered rows, their norms, and whether each row is constant up to rounding."""
    x *= keep
    small = _FLAT * tf.stop_gradient(tf.reduce_sum(tf.square(x), axis=1)) + _TINY
    mean = tf.math.divide_no_nan(tf.reduce_sum(x, axis=1, keepdims=True), tf.reduce_sum(keep))
    x = (x - mean) * keep
    squares = tf.reduce_sum(tf.square(x), axis=1)
    return x, tf.sqrt(squares + small), squares <= small
