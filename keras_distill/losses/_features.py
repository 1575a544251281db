"""The losses on features of inner layers, as pure functions: `functional` exports them."""

import tensorflow as tf

from keras_distill._internal._types import TeacherLogits, Tensor, TensorLike
from keras_distill.losses._logspace import as_float, as_pair, number


def hint(teacher: TeacherLogits, student: TensorLike) -> Tensor:
    """Computes the mean over the last axis of (s - t)².

    Source: Romero et al. 2015 (FitNets, arXiv:1412.6550), equation 3, as a mean instead of half
    the sum.

    Args:
        teacher: float features `(..., C)`.
        student: float features of the same shape, after a projector where their shapes differ.

    Returns:
        `(...)`.

    Example:
        >>> hint([[1.0, 2.0]], [[1.0, 0.0]]).numpy().tolist()
        [2.0]
    """
    teacher, student = as_pair(teacher, student)
    return tf.reduce_mean(tf.math.squared_difference(student, teacher), axis=-1)


def attention_map(features: TensorLike) -> Tensor:
    """Computes the mean of squared channels by position, flattened, divided by its L2 norm.

    A map of zeros stays zeros.

    Source: Zagoruyko, Komodakis 2017 (AT, arXiv:1612.03928), section 3.1 with p = 2.

    Args:
        features: float `(B, ..., C)` with one or more axes of positions.

    Returns:
        `(B, positions)`.

    Example:
        >>> attention_map([[[3.0, 3.0], [0.0, 0.0]]]).numpy().tolist()
        [[1.0, 0.0]]
    """
    features = as_float(features)
    energy = tf.reduce_mean(tf.square(features / _size(features, keep_batch=True)), axis=-1)
    return _unit_rows(_by_example(energy))


def attention_transfer(teacher: TeacherLogits, student: TensorLike) -> Tensor:
    """Computes the mean over positions of (A(s) - A(t))², with `attention_map` A.

    Source: Zagoruyko, Komodakis 2017 (AT, arXiv:1612.03928), section 3.1; the mean of squares is
    that of their published code.

    Args:
        teacher: float `(B, ..., C)`.
        student: float `(B, ..., C')`, the same positions; channels may differ.

    Returns:
        `(B,)`.

    Example:
        >>> attention_transfer([[[1.0], [0.0]]], [[[0.0], [2.0]]]).numpy().tolist()
        [1.0]
    """
    teacher, student = as_pair(teacher, student)
    return tf.reduce_mean(
        tf.math.squared_difference(attention_map(student), attention_map(teacher)), axis=-1
    )


def similarity(
    teacher: TeacherLogits, student: TensorLike, keep: TensorLike | None = None
) -> Tensor:
    """Computes Σ (G(s) - G(t))² / B², where G is A·Aᵀ with rows divided by their L2 norm.

    A holds the flattened features of one example in each row.

    Source: Tung, Mori 2019 (SP, arXiv:1907.09682), section 3.1.

    Args:
        teacher: float `(B, ...)`.
        student: float `(B, ...)`, of any shape after the batch axis.
        keep: None, or `(B,)` of 1 and 0: rows of 0 are left out, also of B.

    Returns:
        A scalar.

    Example:
        >>> round(float(similarity([[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [3.0, 0.0]])), 6)
        0.0
    """
    teacher, student = as_pair(teacher, student)
    keep, rows = _rows(student, keep)

    def gram(features: Tensor) -> Tensor:
        a = _by_example(features / _size(features)) * keep[:, None]
        return _unit_rows(tf.matmul(a, a, transpose_b=True))

    difference = tf.reduce_sum(tf.math.squared_difference(gram(student), gram(teacher)))
    return tf.math.divide_no_nan(difference, tf.square(rows))


def relational(
    teacher: TeacherLogits,
    student: TensorLike,
    distance_weight: TensorLike = 1.0,
    angle_weight: TensorLike = 2.0,
    keep: TensorLike | None = None,
) -> Tensor:
    """Computes w_d · mean over pairs l(d_s - d_t) + w_a · mean over triplets l(cos_s - cos_t).

    d is the distance of two examples divided by the mean distance of distinct ones, cos the cosine
    of the angle that three examples make, l the smooth L1 (Huber, delta 1). Means are over all B²
    pairs and B³ triplets; those with a repeated example add 0. Examples closer to each other than
    rounding count as equal: distance and cosine 0. Products are computed in float64, because
    distances are differences of them.

    Source: Park, Kim, Lu, Cho 2019 (RKD, arXiv:1904.05068), section 3.2; weights of their metric
    learning, means of their code.

    Args:
        teacher: float `(B, ...)`.
        student: float `(B, ...)`, of any shape after the batch axis.
        distance_weight: Weight of the distances.
        angle_weight: Weight of the angles; the number 0 skips their B³ values.
        keep: None, or `(B,)` of 1 and 0: rows of 0 are left out, also of B.

    Returns:
        A scalar.

    Example:
        >>> x = tf.constant([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
        >>> round(float(relational(x, 3 * x + 1)), 6)
        0.0
    """
    teacher, student = as_pair(teacher, student)
    dtype = student.dtype
    keep, rows = _rows(student, keep)
    pairs = keep[:, None] * keep[None, :]
    t, s = (_geometry(features, keep) for features in (teacher, student))
    gap = tf.cast(_mean_distance_one(s, pairs) - _mean_distance_one(t, pairs), dtype)
    total = number(distance_weight, dtype) * tf.math.divide_no_nan(
        tf.reduce_sum(_smooth_l1(gap)), tf.square(rows)
    )
    if not tf.is_tensor(angle_weight) and angle_weight == 0:
        return total
    gap = tf.cast(_cosines(s, dtype) - _cosines(t, dtype), dtype) * (
        pairs[:, :, None] * keep[None, None, :]
    )
    return total + number(angle_weight, dtype) * tf.math.divide_no_nan(
        tf.reduce_sum(_smooth_l1(gap)), rows**3
    )


def _geometry(features: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns Gram matrix of the centered rows, distances, and 1/distance (0 for equal rows)."""
    keep = tf.cast(keep, tf.float64)[:, None]
    x = tf.cast(_by_example(features / _size(features)), tf.float64)
    x -= tf.math.divide_no_nan(tf.reduce_sum(x * keep, axis=0), tf.reduce_sum(keep))
    gram = tf.matmul(x, x, transpose_b=True)
    size = tf.linalg.diag_part(gram)
    total = size[:, None] + size[None, :]
    squared = total - 2 * gram
    apart = squared > 1e-13 * total
    distance = tf.sqrt(tf.where(apart, squared, 1.0))
    zero = tf.zeros_like(distance)
    return gram, tf.where(apart, distance, zero), tf.where(apart, 1 / distance, zero)


def _mean_distance_one(geometry: tuple[Tensor, Tensor, Tensor], pairs: Tensor) -> Tensor:
    """Returns distances of the pairs kept, divided by their mean over distinct examples."""
    pairs = tf.cast(pairs, tf.float64)
    distance = geometry[1] * pairs
    distinct = tf.reduce_sum(pairs) - tf.reduce_sum(tf.linalg.diag_part(pairs))
    mean = tf.math.divide_no_nan(tf.reduce_sum(distance), distinct)
    return tf.math.divide_no_nan(distance, mean)


def _cosines(geometry: tuple[Tensor, Tensor, Tensor], dtype: tf.DType) -> Tensor:
    """Returns the cosine of the angle at j between i and k, `(j, i, k)`."""
    gram, _, inverse = geometry
    corner = tf.linalg.diag_part(gram)[:, None, None]
    dots = gram[None, :, :] - gram[:, :, None] - gram[:, None, :] + corner
    return tf.cast(dots * inverse[:, :, None] * inverse[:, None, :], dtype)


def _smooth_l1(x: Tensor) -> Tensor:
    size = tf.abs(x)
    return tf.where(size < 1, tf.square(x) / 2, size - 0.5)


def _rows(features: Tensor, keep: TensorLike | None) -> tuple[Tensor, Tensor]:
    """Returns 1 or 0 per example in the features' dtype, and the number of ones."""
    shape = tf.shape(features)[:1]
    keep = tf.ones(shape, features.dtype) if keep is None else tf.cast(keep, features.dtype)
    return keep, tf.reduce_sum(keep)


def _by_example(features: Tensor) -> Tensor:
    return tf.reshape(features, (tf.shape(features)[0], -1))


def _size(features: Tensor, *, keep_batch: bool = False) -> Tensor:
    """Returns the largest absolute value, 1 if that is 0, to compute scale-free losses near 1.

    Not differentiated: the losses that use it do not change with the features' scale.
    """
    axes = list(range(1 if keep_batch else 0, features.shape.rank))
    size = tf.stop_gradient(tf.reduce_max(tf.abs(features), axis=axes, keepdims=True))
    return tf.where(size > 0, size, tf.ones_like(size))


def _unit_rows(x: Tensor) -> Tensor:
    """Returns rows divided by their L2 norm; a row of zeros stays, with gradient 0."""
    squares = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
    some = squares > 0
    return tf.where(some, x * tf.math.rsqrt(tf.where(some, squares, tf.ones_like(squares))), 0)
