"""Shared by all losses on logits: dtypes, temperature, and the only place where T² is applied."""

import tensorflow as tf

from keras_distill._internal import bad
from keras_distill._internal._soft_targets import TopK
from keras_distill._internal._types import TeacherLogits, Tensor, TensorLike

# Added to the standard deviation before logits are divided by it (Sun et al. 2024).
STANDARD_EPSILON = 1e-7


def as_float(x: TensorLike) -> Tensor:
    """Returns `x` as a tensor of float32 or float64.

    float64 is unchanged. float16, bfloat16, and integers become float32, so that no loss is
    computed in half precision.

    Args:
        x: Any value that converts to a tensor.
    """
    x = tf.convert_to_tensor(x)
    return x if x.dtype in (tf.float32, tf.float64) else tf.cast(x, tf.float32)


def as_pair(teacher: TeacherLogits, student: TensorLike) -> tuple[Tensor, Tensor]:
    """Returns both as tensors of the wider of their two dtypes; rejects a `TopK` teacher."""
    if isinstance(teacher, TopK):
        raise bad(
            "teacher", "hold every logit for this loss", TopK, "Store or compute dense logits."
        )
    teacher, student = as_float(teacher), as_float(student)
    if teacher.dtype != student.dtype:
        teacher, student = tf.cast(teacher, tf.float64), tf.cast(student, tf.float64)
    return teacher, student


def number(value: TensorLike, dtype: tf.DType) -> Tensor:
    """Returns a setting as a scalar of `dtype`, without rounding to float32."""
    if tf.is_tensor(value):
        return tf.cast(value, dtype)
    return tf.constant(float(value), dtype)


def softened(logits: Tensor, temperature: TensorLike) -> Tensor:
    """Returns logits / T."""
    return logits / number(temperature, logits.dtype)


def below_top(logits: Tensor, temperature: TensorLike) -> Tensor:
    """Returns (logits - max)/T: the same probabilities, with smaller rounding errors."""
    top = tf.stop_gradient(tf.reduce_max(logits, axis=-1, keepdims=True))
    return softened(logits - top, temperature)


def rescaled(value: Tensor, temperature: TensorLike) -> Tensor:
    """Returns value · T², so that the size of the gradient is similar at all temperatures.

    The gradient of a divergence at T is of order 1/T² (Hinton 2015, section 2). This is the only
    function that applies T².
    """
    return value * tf.square(number(temperature, value.dtype))


def expected(probabilities: Tensor, values: Tensor) -> Tensor:
    """Returns Σ p·v over the last axis, with 0·inf = 0: a class with probability 0 adds 0."""
    return tf.reduce_sum(tf.math.multiply_no_nan(values, probabilities), axis=-1)


def num_classes(student: Tensor) -> int:
    """Returns the static size of the class axis.

    Raises:
        InputError: If the last axis has no static size.
    """
    classes = student.shape[-1] if student.shape.rank else None
    if classes is None:
        raise bad("student", "have a last axis of known size (the classes)", student.shape)
    return classes


def without(logits: Tensor, indices: Tensor) -> Tensor:
    """Returns `logits` with the classes `indices` removed (probability exactly 0).

    The lowest finite number is used instead of -inf, to keep differences and gradients finite.

    Args:
        logits: `(..., N)`.
        indices: int, `(..., k)`: the classes to leave out, each in 0..N-1.
    """
    classes = num_classes(logits)
    k = indices.shape[-1]
    flat = tf.reshape(logits, (-1, classes))
    columns = tf.reshape(tf.cast(indices, tf.int32), (-1, k))
    rows = tf.repeat(tf.range(tf.shape(flat)[0])[:, None], k, axis=1)
    where = tf.stack([rows, columns], axis=-1)
    out = tf.tensor_scatter_nd_update(flat, where, tf.fill(tf.shape(columns), logits.dtype.min))
    return tf.reshape(out, tf.shape(logits))


def gathered(logits: Tensor, indices: Tensor) -> Tensor:
    """Returns the logits `(..., k)` of the classes `indices` `(..., k)`, each in 0..N-1."""
    flat = tf.reshape(logits, (-1, num_classes(logits)))
    columns = tf.reshape(indices, (-1, indices.shape[-1]))
    return tf.reshape(tf.gather(flat, columns, batch_dims=1), tf.shape(indices))
