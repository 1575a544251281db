"""DIST: the student's probabilities correlate with the teacher's, by rows and by columns."""

from typing import Any

import tensorflow as tf

from keras_distill.losses._logspace import as_pair, num_classes, number, rescaled, softened

# Added to each sum of squares: far below what probabilities that differ give, and it keeps the
# gradient at a constant row or column finite.
_EPSILON = 1e-12


def dist(
    teacher: Any,
    student: Any,
    temperature: Any = 1.0,
    inter_weight: Any = 1.0,
    intra_weight: Any = 1.0,
    keep: Any = None,
) -> tf.Tensor:
    """T² · (w_inter · mean_rows(1 - ρ) + w_intra · mean_columns(1 - ρ)), ρ Pearson's correlation.

    Rows are the class probabilities softmax(z/T) of an example, columns the probabilities of a
    class over the examples. A column of fewer than two rows has no correlation: that term is then
    left out. Source: Huang, You, Wang, Qian, Xu 2022 (DIST, arXiv:2205.10536), section 4.

    Args:
        teacher: Logits `(..., N)`, N >= 2; leading axes are flattened to rows.
        student: Logits `(..., N)`.
        temperature: T > 0.
        inter_weight: Weight of the row term.
        intra_weight: Weight of the column term.
        keep: None, or `(rows,)` of 1 and 0: rows of 0 are left out.

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
    inter = tf.math.divide_no_nan(tf.reduce_sum(keep * (1 - _row_correlation(p, q))), rows)
    intra = tf.reduce_mean(1 - _row_correlation(tf.transpose(p), tf.transpose(q), keep))
    intra = tf.where(rows > 1, intra, tf.zeros_like(intra))
    weighted = number(inter_weight, p.dtype) * inter + number(intra_weight, p.dtype) * intra
    return rescaled(weighted, temperature)


def _row_correlation(a: tf.Tensor, b: tf.Tensor, keep: tf.Tensor | None = None) -> tf.Tensor:
    """Pearson's correlation of each row of `a` with that of `b`, over the columns kept."""
    keep = tf.ones(tf.shape(a)[1:], a.dtype) if keep is None else keep
    count = tf.reduce_sum(keep)

    def centred(x):
        mean = tf.math.divide_no_nan(tf.reduce_sum(x * keep, axis=1, keepdims=True), count)
        return (x - mean) * keep

    def norm(x):
        return tf.sqrt(tf.reduce_sum(tf.square(x), axis=1) + tf.cast(_EPSILON, x.dtype))

    a, b = centred(a), centred(b)
    return tf.reduce_sum(a * b, axis=1) / (norm(a) * norm(b))
