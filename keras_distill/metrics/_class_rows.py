"""Converts outputs and labels to rows of class logits, the form that all class metrics use.

One logit z means two classes with the logits 0 and z. An output of one sigmoid unit therefore gives
one row per position. A multi-label output gives one row per position and label.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from keras_distill._internal import InputError
from keras_distill._internal._probabilities import (
    Declared,
    kind_of,
    lie_in_unit_interval,
    look_like_probabilities,
    probabilities_to_logits,
)
from keras_distill._internal._types import Array
from keras_distill.metrics._task import Task, of_labels, yes_or_no


class ClassRows(NamedTuple):
    """Rows of class logits and their labels.

    Attributes:
        logits: float64 `(n, N)`, N >= 2.
        ids: Class ids `(n,)`.
    """

    logits: Array
    ids: Array


def class_rows(
    outputs: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    task: Task | None = None,
    from_probabilities: Declared = None,
) -> ClassRows:
    """Converts outputs and labels to rows, without the rows whose label is -1.

    Args:
        outputs: Logits or probabilities `(..., N)`.
        labels: See `label_ids`.
        task: What the outputs predict. If None, it is inferred from the labels.
        from_probabilities: See `logit_rows`.

    Raises:
        InputError: If the labels do not match the outputs, an output is NaN, or no row is labeled.
    """
    outputs = _as_outputs(outputs)
    task = _read(outputs, labels) if task is None else task
    ids = label_ids(labels, outputs, task).reshape(-1)
    logits = logit_rows(outputs, task, from_probabilities)
    logits, ids = logits[ids != -1], ids[ids != -1]
    if not len(ids):
        raise InputError("There must be at least one labeled example. Received: none.")
    if ids.min() < 0 or ids.max() >= logits.shape[1]:
        raise InputError(
            f"`labels` must be in 0..{logits.shape[1] - 1}. Received: {ids.min()}..{ids.max()}"
        )
    return ClassRows(logits, ids)


def logit_rows(
    outputs: npt.ArrayLike, task: Task | None = None, from_probabilities: Declared = None
) -> Array:
    """Converts outputs to float64 logits `(n, N)`, N >= 2.

    Args:
        outputs: Logits or probabilities `(..., N)`.
        task: What the outputs predict. If None, two classes for N = 1, otherwise one of N classes.
        from_probabilities: Whether the outputs are probabilities. If None, sigmoid outputs count as
            probabilities if all of them are in 0..1, and softmax outputs count as logits.

    Raises:
        InputError: If the task is a regression, an output is NaN, or outputs that are declared to
            be softmax probabilities are not.

    Example:
        >>> logit_rows([[2.0], [-1.0]]).tolist()
        [[0.0, 2.0], [0.0, -1.0]]
        >>> logit_rows([[0.5], [0.9]]).round(1).tolist()
        [[0.0, 0.0], [0.0, 2.2]]
    """
    outputs = _as_outputs(outputs)
    task = task or (Task.BINARY if outputs.shape[-1] == 1 else Task.CLASSES)
    if np.isnan(outputs).any():
        raise InputError("`logits` must not contain NaN.")
    if task is Task.REGRESSION:
        raise InputError("A metric of classes needs outputs of classes. Received: a regression.")
    if task is Task.CLASSES:
        if from_probabilities:
            kind = kind_of(outputs, from_probabilities, "outputs")
            outputs = probabilities_to_logits(outputs, kind)
        return outputs.reshape(-1, outputs.shape[-1])
    if from_probabilities is None:
        from_probabilities = lie_in_unit_interval(outputs)
    z = probabilities_to_logits(outputs, "sigmoid") if from_probabilities else outputs
    z = z.reshape(-1)
    return np.stack([np.zeros_like(z), z], axis=-1)


def label_ids(labels: npt.ArrayLike, outputs: Array, task: Task) -> Array:
    """Converts labels to class ids, one for each row of `logit_rows`.

    Args:
        labels: For `Task.CLASSES`, integer class ids `(...)` or `(..., 1)`, or one-hot rows
            `(..., N)`. For `Task.BINARY`, 0 and 1 of any numeric dtype, `(...)` or `(..., 1)`. For
            `Task.MULTI_LABEL`, 0 and 1 of any numeric dtype, `(..., N)`. An integer -1 means
            unlabeled and is kept.
        outputs: The outputs `(..., N)`; only their shape is used.
        task: What the outputs predict.

    Returns:
        Integer class ids `(...)`, or `(..., N)` for `Task.MULTI_LABEL`.

    Raises:
        InputError: If the labels have another shape, dtype, or value.

    Example:
        >>> label_ids([[0, 1], [1, 0]], np.zeros((2, 2)), Task.CLASSES).tolist()
        [1, 0]
        >>> label_ids([0.0, 1.0], np.zeros((2, 1)), Task.BINARY).tolist()
        [0, 1]
    """
    values = np.asarray(labels)
    if task is Task.MULTI_LABEL:
        return _bits(values, outputs.shape)
    shape = outputs.shape[:-1]
    if values.ndim == outputs.ndim and values.shape[-1] == 1:
        values = values[..., 0]
    elif task is Task.CLASSES and _are_one_hot(values, outputs):
        values = values.argmax(-1)
    if task is Task.BINARY:
        return _bits(values, shape)
    if values.shape != shape or values.dtype.kind not in "iu":
        raise InputError(
            f"`labels` must be class ids of shape {shape}, or one-hot rows, for outputs of shape"
            f" {outputs.shape}. Received: {values.dtype} of shape {values.shape}"
        )
    return values


def _bits(values: Array, shape: tuple[int, ...]) -> Array:
    good = (0, 1, -1) if values.dtype.kind == "i" else (0, 1)
    if values.shape != shape or values.dtype.kind not in "biuf" or not np.isin(values, good).all():
        shown = ""
        if values.size and values.dtype.kind in "iuf":
            shown = f", from {values.min():.4g} to {values.max():.4g}"
        raise InputError(
            f"`labels` must be 0 and 1 of shape {shape} for outputs under a sigmoid. Received:"
            f" {values.dtype} of shape {values.shape}{shown}"
        )
    return values.astype(np.int64)


def _are_one_hot(values: Array, outputs: Array) -> bool:
    numeric = values.shape == outputs.shape and values.dtype.kind in "iufb"
    return numeric and look_like_probabilities(values, tolerance=1e-3)


def _as_outputs(outputs: npt.ArrayLike) -> Array:
    array = np.asarray(outputs, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise InputError(f"`logits` must be (..., N). Received: shape {array.shape}")
    return array


def _read(outputs: Array, labels: npt.ArrayLike) -> Task:
    """Infers the task from class labels; `label_ids` then checks their shape and values."""
    if outputs.shape[-1] == 1:
        return Task.BINARY
    values = np.asarray(labels)
    if values.shape != outputs.shape or values.dtype.kind not in "biuf" or not values.size:
        return Task.CLASSES
    likely = of_labels(values, outputs.shape).likely
    return likely if likely in (Task.CLASSES, yes_or_no(outputs.shape[-1])) else Task.CLASSES
