"""Defines the agreement with the teacher as a Keras metric, for the training logs."""

import keras
import tensorflow as tf

from keras_distill._internal._soft_targets import TopK
from keras_distill._internal._types import TeacherLogits, Tensor, TensorLike


@keras.saving.register_keras_serializable("keras_distill")
class Agreement(keras.metrics.Mean):
    """Measures the weighted share of examples for which teacher and student predict the same class.

    It accumulates `metrics.agreement` over batches. One logit z means two classes with the logits 0
    and z.

    Args:
        name: The name in the logs.
        dtype: The dtype of the running sums.

    Example:
        >>> metric = Agreement()
        >>> metric.update_state([[2.0, 1.0], [0.0, 3.0]], [[9.0, 1.0], [1.0, 0.0]])
        >>> float(metric.result())
        0.5
    """

    def __init__(self, name: str = "agreement", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        sample_weight: TensorLike | None = None,
        mask: TensorLike | None = None,
    ) -> None:
        """Adds a batch to the running mean.

        Args:
            teacher: Logits `(..., N)`, or a `TopK` of leading shape `(...)`.
            student: Logits `(..., N)`. If N is 1, probabilities are not supported.
            sample_weight: None, or weights for the first one or more axes of `(...)`, such as
                `(B,)`.
            mask: None, or bool for the first one or more axes of `(...)`. Entries that are False
                (padding, excluded examples) are left out.
        """
        named = _class(student)
        same = tf.cast(tf.equal(_class(teacher), named), self.dtype)
        if sample_weight is None and mask is None:
            super().update_state(same)
            return
        weight = tf.ones_like(same)
        if sample_weight is not None:
            weight *= _widened(tf.cast(sample_weight, same.dtype), same)
        if mask is not None:
            weight *= _widened(tf.cast(mask, same.dtype), same)
        super().update_state(same, weight)


def _class(teacher: TeacherLogits) -> Tensor:
    if not isinstance(teacher, TopK):
        logits = tf.convert_to_tensor(teacher)
        if logits.shape[-1] == 1:
            return tf.cast(tf.squeeze(logits, -1) > 0, tf.int32)
        return tf.argmax(logits, axis=-1, output_type=tf.int32)
    place = tf.argmax(teacher.logits, axis=-1, output_type=tf.int32)
    indices = tf.cast(teacher.indices, tf.int32)
    return tf.gather(indices, place, axis=-1, batch_dims=place.shape.rank)


def _widened(weight: Tensor, values: Tensor) -> Tensor:
    """Returns `weight` with axes of size 1 appended, until it has as many axes as `values`."""
    if len(weight.shape) > len(values.shape):
        weight = tf.squeeze(weight, -1)
    for _ in range(len(values.shape) - len(weight.shape)):
        weight = tf.expand_dims(weight, -1)
    return weight
