"""The one recognition of probabilities, and the one conversion of them to logits; NumPy only."""

from typing import Any, Literal, TypeAlias

import numpy as np

from keras_distill._internal._checks import InputError
from keras_distill._internal._types import Array

Kind: TypeAlias = Literal["softmax", "sigmoid"]
KINDS: tuple[Kind, ...] = ("softmax", "sigmoid")
# What a user may declare: None (not known: refused if they look like it), False (logits), True
# (probabilities; the values show of which kind), or their kind.
Declared: TypeAlias = bool | Kind | None
DECLARATIONS = (None, False, True, *KINDS)

# By chance, so many logits are all in 0..1 in less than one of a million batches.
_ENOUGH = 16
_SMALLEST = float(np.finfo(np.float32).tiny)  # 2^-126


def look_like_probabilities(values: Any, tolerance: float = 1e-2) -> bool:
    """Returns whether every row of `values` is >= 0 and sums to 1.

    Args:
        values: Outputs or labels `(..., N)`; without values, with fewer than 2 axes, or with N < 2
            the result is False.
        tolerance: The largest difference of a row's sum from 1.

    Example:
        >>> look_like_probabilities([[0.25, 0.75]]), look_like_probabilities([[2.0, -1.0]])
        (True, False)
    """
    values = np.asarray(values, np.float32)
    if values.ndim < 2 or values.shape[-1] < 2 or not values.size:
        return False
    return bool(are_probabilities(values, tolerance).all())


def are_probabilities(rows: Array, tolerance: float = 1e-2) -> Array:
    """Returns which rows `(..., N)` are >= 0 and sum to 1; bool `(...)`."""
    return (rows >= 0).all(axis=-1) & (np.abs(rows.sum(axis=-1) - 1.0) <= tolerance)


def lie_in_unit_interval(values: Any) -> bool:
    """Returns whether all values are in 0..1, as probabilities of every kind are.

    Logits of a trained model are not, over a batch: about half of them are negative. Values that
    are all equal show nothing and give False, unless each row sums to 1.

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
    """Returns whether outputs are probabilities with certainty, of one kind or another.

    Rows that sum to 1, or all of at least 16 values in 0..1.

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
    """Returns logits of probabilities, valid at any temperature.

    - "softmax": log p, because softmax(log p / T) is p^(1/T), normalized.
    - "sigmoid": log(p / (1 - p)).

    A probability that was rounded to 0 is replaced by half of the smallest one that its storage
    can hold, and in the same way 1 for "sigmoid": half a step of a quantized output, 2^-25 for
    float16, 2^-126 for wider floats. It keeps the logits finite, so that every loss accepts them.

    Args:
        p: `(..., N)`.
        kind: What computed them.
        step: The step of quantized probabilities, such as 1/256; None for floats.

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
    """Returns what replaces a probability p of 0, and 1 - p where p is 1.

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
    """Returns what computed probabilities that a user declared.

    Args:
        p: A batch `(..., N)`.
        declared: The argument `from_probabilities`: True, "softmax", or "sigmoid".
        what: What they are, for the error: "The outputs of teacher 'a'".

    Raises:
        InputError: If they are not probabilities, or their kind cannot be told.

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
