"""The running means of the hard and the soft term, in one variable: one update per step."""

from typing import Any

import keras
import tensorflow as tf

HARD, SOFT = "hard_loss", "soft_loss"


class TermsTracker(keras.metrics.Metric):
    """Means of the hard and the soft term over examples; of a term that no batch had, none.

    Example:
        >>> tracker = TermsTracker()
        >>> tracker.update_state(hard=2.0, soft=None, size=4)
        >>> {name: float(value) for name, value in tracker.result().items()}
        {'hard_loss': 2.0}
    """

    def __init__(self, name: str = "terms") -> None:
        super().__init__(name=name)
        # Σ size·hard, Σ size of batches with one; the same of soft.
        self.sums = self.add_variable((4,), initializer="zeros", name="sums")

    def update_state(self, hard: Any, soft: Any, size: Any) -> None:
        """Counts a batch.

        Args:
            hard: The mean hard loss of the batch, or None.
            soft: The mean soft loss, or None.
            size: Its number of examples.
        """
        size = tf.cast(size, self.sums.dtype)
        parts: list[Any] = []
        for value in (hard, soft):
            parts += [0.0, 0.0] if value is None else [tf.cast(value, size.dtype) * size, size]
        self.sums.assign_add(tf.stack(parts))

    def result(self) -> dict[str, tf.Tensor]:
        """Both means inside a graph; outside of one only those of terms that were there."""
        hard, hard_size, soft, soft_size = tf.unstack(tf.convert_to_tensor(self.sums))
        means = {HARD: (hard, hard_size), SOFT: (soft, soft_size)}
        return {
            name: tf.math.divide_no_nan(total, size)
            for name, (total, size) in means.items()
            if not tf.executing_eagerly() or float(size) > 0
        }
