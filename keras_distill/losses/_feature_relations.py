"""Losses that compare the examples of a batch by their features; exported by `functional`."""

import tensorflow as tf

from keras_distill._internal._types import TeacherLogits, Tensor, TensorLike
from keras_distill.losses._features import by_example, size_of, unit_rows
from keras_distill.losses._temperature import as_float, as_pair, number


def similarity(
    teacher: TeacherLogits, student: TensorLike, keep: TensorLike | None = None
) -> Tensor:
    """Computes Σ (G(s) - G(t))² / B², where G is A·Aᵀ with each row divided by its L2 norm.

    Each row of A holds the flattened features of one example.

    Source: Tung, Mori 2019 (SP, arXiv:1907.09682), section 3.1.

    Args:
        teacher: float `(B, ...)`.
        student: float `(B, ...)`, of any shape after the batch axis.
        keep: None, or `(B,)` of 1 and 0. Rows with 0 are left out and not counted in B.

    Returns:
        A scalar.

    Example:
        >>> round(float(similarity([[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [3.0, 0.0]])), 6)
        0.0
    """
    teacher, student = as_pair(teacher, student)
    keep, rows = _rows(student, keep)

    def gram(features: Tensor) -> Tensor:
        a = by_example(features / size_of(features)) * keep[:, None]
        return unit_rows(tf.matmul(a, a, transpose_b=True))

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

    d is the distance between two examples, divided by the mean distance between distinct examples.
    cos is the cosine of the angle formed by three examples. l is the smooth L1 loss (Huber,
    delta 1). The means are over all B² pairs and B³ triplets; pairs and triplets with a repeated
    example add 0. Examples that differ only by rounding count as equal, with distance 0 and
    cosine 0. Products are computed in float64, because distances are differences of products.

    Source: Park, Kim, Lu, Cho 2019 (RKD, arXiv:1904.05068), section 3.2. The weights are those of
    their metric learning experiments; the means are those of their code.

    Args:
        teacher: float `(B, ...)`.
        student: float `(B, ...)`, of any shape after the batch axis.
        distance_weight: Weight of the distances.
        angle_weight: Weight of the angles; with the number 0, their B³ values are not computed.
        keep: None, or `(B,)` of 1 and 0. Rows with 0 are left out and not counted in B.

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


def contrastive(
    teacher: TeacherLogits,
    student: TensorLike,
    temperature: TensorLike = 0.07,
    teacher_queue: TensorLike | None = None,
    student_queue: TensorLike | None = None,
    in_queue: TensorLike | None = None,
    keep: TensorLike | None = None,
) -> Tensor:
    """Computes the mean over anchors of -log(exp(a·b/τ) / (exp(a·b/τ) + Σ_n exp(a·n/τ))).

    Embeddings are divided by their L2 norm. The anchor a is the embedding of an example by one
    model, and b is the embedding of the same example by the other model. The negatives n are
    embeddings of other examples by the other model: the rest of the batch, and a queue of earlier
    batches. The value is the mean of both directions, student to teacher and teacher to student.

    Source: Tian, Krishnan, Isola 2020 (CRD, arXiv:1910.10699), section 3. Difference from the
    paper: the paper scores each pair separately against N negatives drawn from a memory bank with a
    row per training example. The memory bank needs the index of each example, which a data set does
    not provide. Here the negatives come from the batch and from a queue (He et al. 2020, MoCo,
    arXiv:1911.05722), and the loss is InfoNCE (Oord et al. 2018, arXiv:1807.03748), which needs no
    normalizing constants. Examples of the same class are negatives of each other.

    Args:
        teacher: float embeddings `(B, D)`.
        student: float embeddings `(B, D)`.
        temperature: τ > 0.
        teacher_queue: None, or earlier embeddings by the teacher `(K, D)`.
        student_queue: None, or earlier embeddings by the student `(K, D)`.
        in_queue: None, or `(K,)` of 1 and 0. Rows with 0 are empty.
        keep: None, or `(B,)` of 1 and 0. Rows with 0 are left out, as anchors and as negatives.

    Returns:
        A scalar; 0 if there are no negatives.

    Example:
        >>> x = tf.eye(2)
        >>> round(float(contrastive(x, x, temperature=1.0)), 3)
        0.313
    """
    teacher, student = as_pair(teacher, student)
    keep, rows = _rows(student, keep)
    t, s = unit_rows(teacher), unit_rows(student)
    scale = number(temperature, s.dtype)
    total = tf.zeros((), s.dtype)
    for anchor, other, queue in ((s, t, teacher_queue), (t, s, student_queue)):
        scores = tf.matmul(anchor, other, transpose_b=True) / scale
        own = tf.linalg.diag_part(scores)
        # The example itself is always a candidate, so every row has at least one candidate.
        candidate = tf.maximum(keep[None, :], tf.eye(tf.shape(s)[0], dtype=s.dtype))
        scores = tf.where(candidate > 0, scores, scores.dtype.min)
        if queue is not None:
            queue = unit_rows(tf.cast(as_float(queue), s.dtype))
            earlier = tf.matmul(anchor, queue, transpose_b=True) / scale
            if in_queue is not None:
                there = tf.cast(in_queue, s.dtype)[None, :] > 0
                earlier = tf.where(there, earlier, scores.dtype.min)
            scores = tf.concat([scores, earlier], axis=1)
        total += tf.reduce_sum(keep * (tf.reduce_logsumexp(scores, axis=1) - own)) / 2
    return tf.math.divide_no_nan(total, rows)


def _geometry(features: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the Gram matrix of the centered rows, distances, 1/distance (0 for equal rows)."""
    keep = tf.cast(keep, tf.float64)[:, None]
    x = tf.cast(by_example(features / size_of(features)), tf.float64)
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
    """Returns the distances of the kept pairs, divided by their mean over distinct examples."""
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
    """Returns 1 or 0 per example, in the dtype of the features, and the number of ones."""
    shape = tf.shape(features)[:1]
    keep = tf.ones(shape, features.dtype) if keep is None else tf.cast(keep, features.dtype)
    return keep, tf.reduce_sum(keep)
