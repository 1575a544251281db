"""Converts outputs to logits, including the quantized probabilities of a `.tflite` file."""

import numpy as np

from keras_distill._internal._probabilities import (
    lie_in_unit_interval,
    look_like_probabilities,
    probabilities_to_logits,
)
from keras_distill.metrics._task import Task

_TOLERANCE = 0.05  # quantized probabilities sum to 1 only roughly


def as_logits(
    outputs: np.ndarray,
    from_probabilities: bool | None = None,
    *,
    task: Task | None = None,
    step: float | None = None,
) -> np.ndarray:
    """Converts outputs to logits; see `teachers.probabilities_to_logits`.

    Args:
        outputs: Logits or probabilities `(n, ..., N)`.
        from_probabilities: Whether the outputs are probabilities. If None, softmax outputs count as
            probabilities if all rows are >= 0 and sum to 1, and sigmoid outputs if all values are
            in 0..1.
        task: What the outputs predict. If None, two classes for N = 1, otherwise one of N classes.
        step: The quantization step of the probabilities, such as 1/256; None for floats.

    Returns:
        float64 logits of the same shape.

    Example:
        >>> as_logits(np.array([[0.25, 0.75]])).round(3).tolist()
        [[-1.386, -0.288]]
        >>> as_logits(np.array([[2.0, -1.0]])).tolist()
        [[2.0, -1.0]]
    """
    outputs = np.asarray(outputs, np.float64)
    sigmoid = outputs.shape[-1] == 1 if task is None else task is not Task.CLASSES
    if from_probabilities is None:
        from_probabilities = (
            lie_in_unit_interval(outputs)
            if sigmoid
            else look_like_probabilities(outputs, _TOLERANCE)
        )
    if not from_probabilities:
        return outputs
    return probabilities_to_logits(outputs, "sigmoid" if sigmoid else "softmax", step=step)
