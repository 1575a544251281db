"""Cross-entropy with label smoothing for class ids; Keras has it only for one-hot labels."""

from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import check_number
from keras_distill._internal._types import Tensor
from keras_distill.losses import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class SmoothedCrossentropy(keras.losses.Loss):
    """Computes the cross-entropy with the target (1 - s) · onehot(y) + s/N over N classes.

    Source: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2016 (arXiv:1512.00567), section 7.

    Args:
        label_smoothing: s, with 0 <= s < 1.
        from_logits: Whether the outputs are logits; otherwise they are probabilities.
        name: The name of the loss.

    Example:
        >>> loss = SmoothedCrossentropy(0.2)
        >>> round(float(loss(tf.constant([0]), tf.constant([[2.0, 0.0]]))), 3)
        0.327
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        *,
        from_logits: bool = True,
        name: str = "smoothed_crossentropy",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, at_least=0)
        self.from_logits = from_logits

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Computes the loss of each example: `(B,)` for ids `(B,)` or `(B, 1)`."""
        ids = tf.cast(tf.reshape(y_true, tf.shape(y_pred)[:-1]), tf.int32)
        rows = tf.one_hot(ids, y_pred.shape[-1], dtype=y_pred.dtype)
        value: Any = keras.losses.categorical_crossentropy(
            rows, y_pred, self.from_logits, self.label_smoothing
        )
        return value

    def get_config(self) -> dict[str, Any]:
        """Returns the settings."""
        own = {"label_smoothing": self.label_smoothing, "from_logits": self.from_logits}
        return {**super().get_config(), **own}
