"""The losses as pure functions on tensors, computed in log space.

Logits have any leading shape `(...)`, with the classes in the last axis; each function returns a
value per leading position. float64 stays float64; half precision is computed in float32. Arrays
and lists are converted to tensors. T² is applied only by `rescaled` (`_temperature.py`).
"""

import tensorflow as tf

from keras_distill._internal import bad
from keras_distill._internal._soft_targets import TopK
from keras_distill._internal._types import TeacherLogits, Tensor, TensorLike
from keras_distill.losses import _topk
from keras_distill.losses._divergences import (
    jensen_shannon,
    log_softmax,
    reverse_kl,
    soft_cross_entropy,
    soft_target,
    standardized,
)
from keras_distill.losses._feature_relations import contrastive, relational, similarity
from keras_distill.losses._features import (
    attention_map,
    attention_transfer,
    hierarchical_context,
    hint,
    review,
    softmax_regression,
    variational,
)
from keras_distill.losses._relations import dist, multi_level
from keras_distill.losses._temperature import (
    as_float,
    as_pair,
    below_top,
    expected,
    gathered,
    num_classes,
    number,
    rescaled,
    softened,
    without,
)

__all__ = [
    "attention_map",
    "attention_transfer",
    "class_ids",
    "contrastive",
    "decoupled",
    "dist",
    "hierarchical_context",
    "hint",
    "jensen_shannon",
    "log_softmax",
    "logit_matching",
    "multi_label_soft",
    "multi_level",
    "regression",
    "relational",
    "reverse_kl",
    "review",
    "similarity",
    "soft_cross_entropy",
    "soft_target",
    "softmax_regression",
    "standardized",
    "topk_log_probabilities",
    "variational",
]


def logit_matching(teacher: TeacherLogits, student: TensorLike) -> Tensor:
    """Computes (1/2N) Σ_i (s_i - t_i)², the limit of `soft_target` as T grows.

    The limit holds for zero-mean logits.

    Source: Bucilua, Caruana, Niculescu-Mizil 2006 (KDD); Hinton, Vinyals, Dean 2015
    (arXiv:1503.02531), section 2.1.

    Args:
        teacher: float logits `(..., N)`, or a `TopK`. With a `TopK`, the student matches the k
            logits and the mean of all other logits, which is the limit of `soft_target` for a
            `TopK`.
        student: float logits `(..., N)`.

    Returns:
        float32 or float64 `(...)`.

    Example:
        >>> float(logit_matching([1.0, -1.0], [0.0, 0.0]))
        0.5
    """
    if isinstance(teacher, TopK):
        return _topk.squared_difference(teacher, student) / (2 * num_classes(as_float(student)))
    teacher, student = as_pair(teacher, student)
    return tf.reduce_mean(tf.math.squared_difference(student, teacher), axis=-1) / 2


def decoupled(
    teacher: TeacherLogits,
    student: TensorLike,
    labels: TensorLike,
    temperature: TensorLike = 4.0,
    target_weight: TensorLike = 1.0,
    nontarget_weight: TensorLike = 8.0,
) -> Tensor:
    """Computes T² · (w_t · TCKD + w_n · NCKD), the decoupled divergence.

    TCKD is the KL divergence of (p_y, 1 - p_y). NCKD is the KL divergence of the softmax over all
    classes except the label y. With w_t = 1 and w_n = 1 - p_y, where p_y is the teacher's
    probability of the label, the result equals `soft_target`.

    Source: Zhao, Cui, Song, Qiu, Liang 2022 (DKD, arXiv:2203.08679), section 3.

    Args:
        teacher: float logits `(..., N)`, N >= 2.
        student: float logits `(..., N)`.
        labels: int class ids `(...)` or `(..., 1)`, or one-hot `(..., N)`. An id outside 0..N-1
            (unlabeled or ignored example) gives 0, because there is no target class.
        temperature: T > 0, a number or a scalar tensor.
        target_weight: w_t.
        nontarget_weight: w_n.

    Returns:
        float32 or float64 `(...)`.

    Raises:
        InputError: If the labels have another shape.

    Example:
        >>> z = [[2.0, 1.0, 0.0]]
        >>> float(decoupled(z, z, [0])[0])
        0.0
    """
    teacher, student = as_pair(teacher, student)
    ids = class_ids(labels, student)
    classes = num_classes(student)
    labeled = tf.logical_and(ids >= 0, ids < classes)
    target = tf.expand_dims(tf.clip_by_value(ids, 0, classes - 1), -1)

    def parts(logits: Tensor) -> tuple[Tensor, Tensor]:
        z = below_top(logits, temperature)
        others = without(z, target)
        log_z = tf.reduce_logsumexp(z, axis=-1)
        hit = tf.squeeze(gathered(z, target), -1) - log_z
        miss = tf.reduce_logsumexp(others, axis=-1) - log_z
        return tf.stack([hit, miss], axis=-1), tf.nn.log_softmax(others)

    (p, p_others), (q, q_others) = parts(teacher), parts(student)
    tckd = expected(tf.exp(p), p - q)
    nckd = expected(tf.exp(p_others), p_others - q_others)
    value = number(target_weight, p.dtype) * tckd + number(nontarget_weight, p.dtype) * nckd
    return rescaled(tf.where(labeled, value, tf.zeros_like(value)), temperature)


def class_ids(labels: TensorLike, student: Tensor) -> Tensor:
    """Returns class ids of the student's leading shape, from ids or one-hot rows.

    Args:
        labels: int ids `(...)` or `(..., 1)`, or one-hot `(..., N)`.
        student: Logits `(..., N)`.

    Returns:
        int32 `(...)`.

    Raises:
        InputError: If the labels have another shape.

    Example:
        >>> class_ids([[0.0, 1.0]], tf.zeros((1, 2))).numpy().tolist()
        [1]
    """
    labels = tf.convert_to_tensor(labels)
    rank, classes = student.shape.rank, num_classes(student)
    if labels.shape.rank == rank - 1:
        return tf.cast(labels, tf.int32)
    if labels.shape.rank == rank and labels.shape[-1] == 1:
        return tf.cast(tf.squeeze(labels, -1), tf.int32)
    if labels.shape.rank == rank and labels.shape[-1] == classes:
        return tf.argmax(labels, axis=-1, output_type=tf.int32)
    raise bad(
        "labels",
        f"be class ids, or one-hot rows of {classes}, for student logits {student.shape}",
        labels.shape,
    )


def multi_label_soft(
    teacher: TeacherLogits, student: TensorLike, temperature: TensorLike = 4.0
) -> Tensor:
    """Computes T² · mean over labels of KL(Bernoulli(σ(t/T)) ‖ Bernoulli(σ(s/T))).

    There is one logit per label, and the labels are independent binary outcomes. The mean over
    labels gives the value the scale of Keras's BinaryCrossentropy; at T = 1 the two differ by the
    teacher's entropy.

    Source: Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), section 2, with two outcomes per label.

    Args:
        teacher: float logits `(..., N)`.
        student: float logits `(..., N)`.
        temperature: T > 0, a number or a scalar tensor.

    Returns:
        float32 or float64 `(...)`.

    Example:
        >>> round(float(multi_label_soft([2.0, 0.0], [0.0, 0.0], temperature=1.0)), 3)
        0.164
    """
    teacher, student = as_pair(teacher, student)
    t, s = softened(teacher, temperature), softened(student, temperature)
    yes, no = tf.math.log_sigmoid(t), tf.math.log_sigmoid(-t)
    kl = tf.math.multiply_no_nan(yes - tf.math.log_sigmoid(s), tf.exp(yes))
    kl += tf.math.multiply_no_nan(no - tf.math.log_sigmoid(-s), tf.exp(no))
    return rescaled(tf.reduce_mean(kl, axis=-1), temperature)


def regression(teacher: TeacherLogits, student: TensorLike, delta: float | None = None) -> Tensor:
    """Computes the mean over the last axis of (s - t)², or of Huber's loss of s - t.

    Huber: d²/2 where |d| <= delta, else delta·(|d| - delta/2).

    Source: Gou, Yu, Maybank, Tao 2021 (survey, IJCV 129), section 2.1; Huber 1964.

    Args:
        teacher: float values `(..., D)`, or `(B,)` with one value per example.
        student: float values of the same shape.
        delta: None for the squared error, otherwise Huber's delta > 0.

    Returns:
        float32 or float64 `(...)`.

    Example:
        >>> regression([[0.0, 0.0]], [[1.0, 3.0]]).numpy().tolist()
        [5.0]
        >>> regression([[0.0, 0.0]], [[1.0, 3.0]], delta=1.0).numpy().tolist()
        [1.5]
    """
    teacher, student = as_pair(teacher, student)
    if delta is None:
        values = tf.math.squared_difference(student, teacher)
    else:
        size, bound = tf.abs(student - teacher), number(delta, student.dtype)
        values = tf.where(size <= bound, tf.square(size) / 2, bound * (size - bound / 2))
    return values if values.shape.rank == 1 else tf.reduce_mean(values, axis=-1)


def topk_log_probabilities(teacher: TopK, classes: int, temperature: TensorLike = 1.0) -> Tensor:
    """Computes k+1 log probabilities of a `TopK` at T: its k classes, and all other classes.

    The mass of the other classes is (N-k)·exp(mean/T + var/(2T²)). If the `TopK` has
    `rest_log_mean_exp`, the mass is instead exact at T = 1 and T = 4, and close to exact between
    them. The mass is never more than (N-k)·exp(min/T), where min is the smallest stored logit.

    Args:
        teacher: `TopK` of leading shape `(...)`.
        classes: N, larger than k.
        temperature: T > 0.

    Returns:
        `(..., k+1)`, float32 or float64.

    Example:
        >>> kept = TopK([[0]], [[2.0]], rest_mean=[0.0], rest_var=[0.0])
        >>> [round(float(p), 3) for p in tf.exp(topk_log_probabilities(kept, classes=3))[0]]
        [0.787, 0.213]
    """
    teacher, _ = _topk.as_topk(teacher, teacher.logits)
    return _topk.with_rest(*_topk.log_probabilities(teacher, classes, temperature))
