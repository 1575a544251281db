"""Logits from outputs of any kind, also quantized probabilities of a file."""

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
        outputs: `(n, ..., N)`, logits or probabilities.
        from_probabilities: Whether they are probabilities; None: if all rows are >= 0 and sum to 1,
            under a sigmoid if all values are in 0..1.
        task: What they predict; None: two classes for N = 1, else one of N classes.
        step: The step of quantized probabilities.

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
