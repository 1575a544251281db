"""The losses on the features of one example, as pure functions: `functional` exports them."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_distill._internal import bad
from keras_distill._internal._types import TeacherLogits, Tensor, TensorLike
from keras_distill.losses._temperature import as_float, as_pair, number


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
    energy = tf.reduce_mean(tf.square(features / size_of(features, keep_batch=True)), axis=-1)
    return unit_rows(by_example(energy))


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


def variational(teacher: TeacherLogits, mean: TensorLike, variance: TensorLike) -> Tensor:
    """Computes the mean over channels of ((t - μ)²/σ² + log σ²)/2.

    It is the negative log-likelihood, less a constant, of the teacher's features under a normal
    distribution of mean μ, which a trained network computes from the student's features, and of one
    trained variance σ² per channel: channels that the student cannot explain weigh less. So its
    minimum is not 0: for μ = t it is the mean of log σ².

    Source: Ahn et al. 2019 (VID, arXiv:1904.05835), section 2, equations 5 and 6, as a mean over
    channels and positions, which is that of their published code.

    Args:
        teacher: float features t `(..., C)`.
        mean: μ, float `(..., C)`.
        variance: σ² > 0, float `(C,)`.

    Returns:
        `(...)`.

    Example:
        >>> round(float(variational([[1.0, 2.0]], [[1.0, 0.0]], [1.0, 4.0])[0]), 3)
        0.597
    """
    teacher, mean = as_pair(teacher, mean)
    variance = tf.cast(as_float(variance), mean.dtype)
    squares = tf.math.squared_difference(mean, teacher) / variance
    return tf.reduce_mean(squares + tf.math.log(variance), axis=-1) / 2


def softmax_regression(
    teacher: TeacherLogits,
    student: TensorLike,
    kernel: TensorLike,
    feature_weight: TensorLike = 1.0,
    logit_weight: TensorLike = 1.0,
) -> Tensor:
    """Computes w_f · mean over channels of (s - t)² + w_l · mean over classes of ((s - t)·W)².

    W is the kernel of the teacher's classifier: the second term compares the logits that the
    classifier makes of both features, so the bias cancels. It weighs the differences that change
    the teacher's answer.

    Source: Yang, Martinez, Bulat, Tzimiropoulos 2021 (softmax regression representation learning,
    ICLR), section 3, with the L2 loss between logits, as means.

    Args:
        teacher: float features t `(..., C)`, the input of the teacher's classifier.
        student: float features s `(..., C)`, after a projector where their shapes differ.
        kernel: W, float `(C, N)`.
        feature_weight: w_f.
        logit_weight: w_l.

    Returns:
        `(...)`.

    Example:
        >>> softmax_regression([[1.0, 0.0]], [[0.0, 0.0]], [[2.0], [5.0]]).numpy().tolist()
        [4.5]
    """
    teacher, student = as_pair(teacher, student)
    difference = student - teacher
    logits = tf.linalg.matmul(difference, tf.cast(as_float(kernel), student.dtype))
    by_feature = number(feature_weight, student.dtype) * tf.reduce_mean(
        tf.square(difference), axis=-1
    )
    return by_feature + number(logit_weight, student.dtype) * tf.reduce_mean(
        tf.square(logits), axis=-1
    )


def hierarchical_context(
    teacher: TeacherLogits, student: TensorLike, levels: Sequence[int] = (4, 2, 1)
) -> Tensor:
    """Computes Σ_l 2⁻ˡ · mean (pool_l(s) - pool_l(t))² / Σ_l 2⁻ˡ over a pyramid of maps.

    Level l = 0 is the whole map; level l averages it over a grid of levels[l-1]² cells, as
    PyTorch's adaptive pooling divides it. A grid that is not smaller than the map is skipped.

    Source: Chen, Liu, Zhao, Jia 2021 (ReviewKD, arXiv:2104.09044), section 3 (hierarchical context
    loss); grids and weights are those of their published code.

    Args:
        teacher: float maps `(B, H, W, C)`, H and W static.
        student: float maps of the same shape.
        levels: Cells per side of each grid.

    Returns:
        `(B,)`.

    Raises:
        InputError: If they are not maps of known size.

    Example:
        >>> t, s = tf.zeros((1, 2, 2, 1)), tf.reshape([1.0, -1.0, 1.0, -1.0], (1, 2, 2, 1))
        >>> round(float(hierarchical_context(t, s)[0]), 3)
        0.667
    """
    teacher, student = as_pair(teacher, student)
    difference = student - teacher
    rule = "be maps (B, H, W, C) of known height and width"
    if difference.shape.rank != 4:
        raise bad("student", rule, difference.shape)
    height, width = difference.shape[1:3]
    if height is None or width is None:
        raise bad("student", rule, difference.shape)
    total = tf.reduce_mean(tf.square(difference), axis=(1, 2, 3))
    weight, weights = 1.0, 1.0
    for cells in levels:
        if cells >= min(height, width):
            continue
        rows, columns = (
            tf.constant(_pooling(size, cells), difference.dtype) for size in (height, width)
        )
        pooled = tf.einsum("ih,bhwc,jw->bijc", rows, difference, columns)
        weight /= 2
        weights += weight
        total += weight * tf.reduce_mean(tf.square(pooled), axis=(1, 2, 3))
    return total / weights


def review(
    teacher: Sequence[TensorLike],
    student: Sequence[TensorLike],
    levels: Sequence[int] = (4, 2, 1),
) -> Tensor:
    """Computes Σ over stages of `hierarchical_context`.

    Source: Chen, Liu, Zhao, Jia 2021 (ReviewKD, arXiv:2104.09044), section 3; the student's maps
    are those of its stage fused with all deeper ones (`ReviewLoss`).

    Args:
        teacher: float maps `(B, H, W, C)`, one per stage.
        student: float maps of the same shapes.
        levels: Cells per side of each grid.

    Returns:
        `(B,)`.

    Example:
        >>> review([tf.zeros((1, 1, 1, 1))], [tf.ones((1, 1, 1, 1))]).numpy().tolist()
        [1.0]
    """
    stages = [hierarchical_context(t, s, levels) for t, s in zip(teacher, student, strict=True)]
    wide = next((v.dtype for v in stages if v.dtype == tf.float64), stages[0].dtype)
    return tf.add_n([tf.cast(value, wide) for value in stages])


def _pooling(size: int, cells: int) -> np.ndarray:
    """Returns the matrix `(cells, size)` of means over cells that may overlap by one place."""
    matrix = np.zeros((cells, size))
    for cell in range(cells):
        start, end = cell * size // cells, -(-(cell + 1) * size // cells)
        matrix[cell, start:end] = 1 / (end - start)
    return matrix


def by_example(features: Tensor) -> Tensor:
    """Returns features `(B, ...)` flattened to `(B, D)`."""
    return tf.reshape(features, (tf.shape(features)[0], -1))


def size_of(features: Tensor, *, keep_batch: bool = False) -> Tensor:
    """Returns the largest absolute value, 1 if that is 0, to compute scale-free losses near 1.

    Not differentiated: the losses that use it do not change with the features' scale.
    """
    axes = list(range(1 if keep_batch else 0, features.shape.rank))
    size = tf.stop_gradient(tf.reduce_max(tf.abs(features), axis=axes, keepdims=True))
    return tf.where(size > 0, size, tf.ones_like(size))


def unit_rows(x: Tensor) -> Tensor:
    """Returns rows divided by their L2 norm; a row of zeros stays, with gradient 0."""
    squares = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
    some = squares > 0
    return tf.where(some, x * tf.math.rsqrt(tf.where(some, squares, tf.ones_like(squares))), 0)
