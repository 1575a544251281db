"""Recognizes probabilities and converts them to logits, with NumPy only."""

from typing import Any, Literal, TypeAlias

import numpy as np

from keras_distill._internal._checks import InputError
from keras_distill._internal._types import Array

Kind: TypeAlias = Literal["softmax", "sigmoid"]
KINDS: tuple[Kind, ...] = ("softmax", "sigmoid")
# What a user may declare about outputs: None (unknown; an error if they look like probabilities),
# False (logits), True (probabilities, whose kind is inferred from the values), or the kind.
Declared: TypeAlias = bool | Kind | None
DECLARATIONS = (None, False, True, *KINDS)

# The probability that this many logits are all in 0..1 by chance is less than one in a million.
_ENOUGH = 16
_SMALLEST = float(np.finfo(np.float32).tiny)  # 2^-126


def look_like_probabilities(values: Any, tolerance: float = 1e-2) -> bool:
    """Returns whether every row of `values` is >= 0 and sums to 1.

    Args:
        values: Outputs or labels `(..., N)`. The result is False if there are no values, fewer than
            2 axes, or N < 2.
        tolerance: The largest difference between the sum of a row and 1.

    Example:
        >>> look_like_probabilities([[0.25, 0.75]]), look_like_probabilities([[2.0, -1.0]])
        (True, False)
    """
    values = np.asarray(values, np.float32)
    if values.ndim < 2 or values.shape[-1] < 2 or not values.size:
        return False
    return bool(are_probabilities(values, tolerance).all())


def are_probabilities(rows: Array, tolerance: float = 1e-2) -> Array:
    """Returns, as bool `(...)`, which rows of `(..., N)` are >= 0 and sum to 1."""
    return (rows >= 0).all(axis=-1) & (np.abs(rows.sum(axis=-1) - 1.0) <= tolerance)


def lie_in_unit_interval(values: Any) -> bool:
    """Returns whether all values are in 0..1, as softmax and sigmoid probabilities are.

    The logits of a trained model are not all in 0..1 over a batch, because about half of them are
    negative. If all values are equal, the result is False unless each row sums to 1.

    Example:
        >>> lie_in_unit_interval([[0.2], [0.9]]), lie_in_unit_interval([[0.2], [-0.9]])
        (True, False)
        >>> lie_in_unit_interval([[0.0, 0.0]])
        False
    """
    values = np.asarray(values, np.float32)
    if not values.size:
        return False
    low, high = values.min(), values.max()
    return bool(0 <= low < high <= 1 + 1e-3) or look_like_probabilities(values)


def cannot_be_logits(values: Any) -> bool:
    """Returns whether outputs are certainly probabilities and not logits.

    They are if all rows are >= 0 and sum to 1, or if there are at least 16 values, all in 0..1.

    Example:
        >>> cannot_be_logits([[0.25, 0.75]]), cannot_be_logits([[0.25, 0.7]])
        (True, False)
        >>> cannot_be_logits(np.linspace(0, 1, 16))
        True
    """
    values = np.asarray(values, np.float32)
    if look_like_probabilities(values):
        return True
    return values.size >= _ENOUGH and lie_in_unit_interval(values)


def probabilities_to_logits(p: Any, kind: Kind = "softmax", *, step: float | None = None) -> Array:
    """Converts probabilities to logits that are valid at any temperature.

    - "softmax": log p, because softmax(log p / T) is p^(1/T), normalized.
    - "sigmoid": log(p / (1 - p)).

    The logits are finite, so that every loss accepts them: a probability of 0, and 1 - p of a
    sigmoid probability of 1, are replaced by the values of `floors`.

    Args:
        p: The probabilities `(..., N)`.
        kind: The activation that computed the probabilities.
        step: The quantization step of the probabilities, such as 1/256; None for floats.

    Returns:
        The logits, of the same shape. They are float32 for inputs of float16 or of integers, and
        otherwise have the dtype of the input.

    Example:
        >>> probabilities_to_logits(np.array([1.0, 0.0])).round(1).tolist()
        [0.0, -87.3]
        >>> probabilities_to_logits(np.array([1.0, 0.0]), step=1 / 256).round(2).tolist()
        [0.0, -6.24]
        >>> probabilities_to_logits(np.array([0.5, 0.9]), "sigmoid").round(2).tolist()
        [0.0, 2.2]
    """
    p = np.asarray(p)
    if p.dtype.kind != "f":
        p = p.astype(np.float32)
    low, high = floors(p.dtype, step)
    p = p.astype(np.float32) if p.dtype == np.float16 else p
    logits = np.log(np.maximum(p, p.dtype.type(low)))
    if kind == "softmax":
        return logits
    return logits - np.log(np.maximum(1 - p, p.dtype.type(high)))


def floors(dtype: Any, step: float | None = None) -> tuple[float, float]:
    """Returns the values that replace a probability p of 0, and 1 - p for p = 1.

    They are half a step for quantized probabilities. For float16, they are half of the smallest
    positive value (2^-25) and half of the gap below 1 (2^-12). For wider floats, they are the
    smallest normal float32 (2^-126) and half of the gap below 1 (2^-25 for float32).

    Args:
        dtype: The floating-point dtype of the probabilities.
        step: The quantization step of the probabilities, or None.

    Example:
        >>> [round(1 / floor) for floor in floors(np.float32, step=1 / 256)]
        [512, 512]
    """
    if step is not None:
        return step / 2, step / 2
    if np.dtype(dtype) == np.float16:
        return float(np.finfo(np.float16).smallest_subnormal) / 2, 2.0**-12
    return _SMALLEST, float(np.finfo(dtype).epsneg) / 2


def kind_of(p: Any, declared: Declared, what: str) -> Kind:
    """Returns the activation that computed outputs that a user declared to be probabilities.

    Args:
        p: A batch of outputs `(..., N)`.
        declared: The argument `from_probabilities`: True, "softmax", or "sigmoid".
        what: The name of the outputs for the error message, such as "The outputs of teacher 'a'".

    Raises:
        InputError: If a value is not in 0..1, or `declared` is True and the activation cannot be
            inferred from the values.

    Example:
        >>> kind_of([[0.25, 0.75]], True, "p"), kind_of([[0.25], [0.75]], True, "p")
        ('softmax', 'sigmoid')
        >>> kind_of([[0.9, 0.8]], True, "p")
        'sigmoid'
    """
    p = np.asarray(p, np.float32)
    if not (p.min() >= 0 and p.max() <= 1 + 1e-3):
        raise InputError(
            f"`from_probabilities` needs values in 0..1. Received: {what} from {p.min():.3g} to"
            f" {p.max():.3g}. Logits need no from_probabilities."
        )
    if declared in KINDS:
        return declared
    if p.ndim < 2 or p.shape[-1] == 1:
        return "sigmoid"
    if look_like_probabilities(p):
        return "softmax"
    sums = p.sum(axis=-1)
    if sums.max() > 1 + 1e-2:
        return "sigmoid"
    raise InputError(
        f"`from_probabilities` must be 'softmax' (some of the classes of a softmax) or 'sigmoid'"
        f" (independent labels) where rows do not sum to 1. Received: {what} with sums from"
        f" {sums.min():.3g} to {sums.max():.3g}."
    )
