"""Losses on the features of one example, as pure functions; exported by `functional`."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_distill._internal import bad
from keras_distill._internal._types import TeacherLogits, Tensor, TensorLike
from keras_distill.losses._temperature import as_float, as_pair, number


def hint(teacher: TeacherLogits, student: TensorLike) -> Tensor:
    """Computes the mean over the last axis of (s - t)².

    Source: Romero et al. 2015 (FitNets, arXiv:1412.6550), equation 3, with the mean instead of
    half the sum.

    Args:
        teacher: float features `(..., C)`.
        student: float features of the same shape (after a projector if the shapes differ).

    Returns:
        `(...)`.

    Example:
        >>> hint([[1.0, 2.0]], [[1.0, 0.0]]).numpy().tolist()
        [2.0]
    """
    teacher, student = as_pair(teacher, student)
    return tf.reduce_mean(tf.math.squared_difference(student, teacher), axis=-1)


def attention_map(features: TensorLike) -> Tensor:
    """Computes the mean of squared channels at each position, flattened, divided by its L2 norm.

    An all-zero map stays zero.

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
    """Computes the mean over positions of (A(s) - A(t))², where A is `attention_map`.

    Source: Zagoruyko, Komodakis 2017 (AT, arXiv:1612.03928), section 3.1. The mean of squares is
    taken from their published code.

    Args:
        teacher: float `(B, ..., C)`.
        student: float `(B, ..., C')` with the same positions; the channels may differ.

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

    This is the negative log-likelihood (without a constant) of the teacher's features under a
    normal distribution. A trained network computes the mean μ from the student's features, and
    there is one trained variance σ² per channel. Channels that the student cannot predict
    therefore have less weight. The minimum is not 0: for μ = t the value is the mean of
    (log σ²)/2.

    Source: Ahn et al. 2019 (VID, arXiv:1904.05835), section 2, equations 5 and 6. The mean over
    channels and positions is taken from their published code.

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

    W is the kernel of the teacher's classifier. The second term compares the logits that this
    classifier computes from the teacher's and the student's features; the bias cancels. This term
    emphasizes the differences that change the teacher's prediction.

    Source: Yang, Martinez, Bulat, Tzimiropoulos 2021 (softmax regression representation learning,
    ICLR), section 3, with the L2 loss between logits, using means.

    Args:
        teacher: float features t `(..., C)`, the input of the teacher's classifier.
        student: float features s `(..., C)` (after a projector if the shapes differ).
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
    """Computes Σ_l 2⁻ˡ · mean (pool_l(s) - pool_l(t))² / Σ_l 2⁻ˡ over a pyramid of feature maps.

    Level l = 0 is the whole map. Level l > 0 averages the map over a grid of levels[l-1]² cells,
    divided in the same way as in PyTorch's adaptive average pooling. A grid that is not smaller
    than the map is skipped.

    Source: Chen, Liu, Zhao, Jia 2021 (ReviewKD, arXiv:2104.09044), section 3 (hierarchical context
    loss). The grids and weights are taken from their published code.

    Args:
        teacher: float feature maps `(B, H, W, C)` with static H and W.
        student: float maps of the same shape.
        levels: Cells per side of each grid.

    Returns:
        `(B,)`.

    Raises:
        InputError: If the inputs are not feature maps of known size.

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
    """Computes the sum of `hierarchical_context` over the stages.

    Source: Chen, Liu, Zhao, Jia 2021 (ReviewKD, arXiv:2104.09044), section 3. The student's maps of
    each stage are already fused with the maps of all deeper stages (see `ReviewLoss`).

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
    """Returns the matrix `(cells, size)` that averages over cells, which may overlap by one."""
    matrix = np.zeros((cells, size))
    for cell in range(cells):
        start, end = cell * size // cells, -(-(cell + 1) * size // cells)
        matrix[cell, start:end] = 1 / (end - start)
    return matrix


def by_example(features: Tensor) -> Tensor:
    """Returns features `(B, ...)` flattened to `(B, D)`."""
    return tf.reshape(features, (tf.shape(features)[0], -1))


def size_of(features: Tensor, *, keep_batch: bool = False) -> Tensor:
    """Returns the largest absolute value, or 1 if it is 0, to normalize features to a size near 1.

    The result is not differentiated: the losses that use it do not depend on the features' scale.
    """
    axes = list(range(1 if keep_batch else 0, features.shape.rank))
    size = tf.stop_gradient(tf.reduce_max(tf.abs(features), axis=axes, keepdims=True))
    return tf.where(size > 0, size, tf.ones_like(size))


def unit_rows(x: Tensor) -> Tensor:
    """Returns each row divided by its L2 norm; a row of zeros stays zero, with gradient 0."""
    squares = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
    some = squares > 0
    return tf.where(some, x * tf.math.rsqrt(tf.where(some, squares, tf.ones_like(squares))), 0)
