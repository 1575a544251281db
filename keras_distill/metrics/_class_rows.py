"""The one form in which every metric of classes sees outputs and labels: rows of class logits.

One logit z means two classes with the logits 0 and z: one unit under a sigmoid gives a row for each
position, several labels give a row for each label.
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
    """Logits `(n, N)` float64, N >= 2, and class ids `(n,)`."""

    logits: Array
    ids: Array


def class_rows(
    outputs: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    task: Task | None = None,
    from_probabilities: Declared = None,
) -> ClassRows:
    """Returns labeled rows, without those of the label -1.

    Args:
        outputs: `(..., N)`.
        labels: See `label_ids`.
        task: What the outputs predict; None: read from the labels.
        from_probabilities: See `logit_rows`.

    Raises:
        InputError: If shapes or values do not fit, or there is no labeled row.
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
    """Returns outputs as logits `(n, N)`, float64, N >= 2.

    Args:
        outputs: `(..., N)`.
        task: What they predict; None: two classes for N = 1, else one of N classes.
        from_probabilities: Whether they are probabilities. None: outputs under a sigmoid are, if
            all of them are in 0..1, and outputs under a softmax are not.

    Raises:
        InputError: If they are values of a regression, or NaN.

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
    """Returns labels as class ids, one for each row of `logit_rows`, in their leading shape.

    Args:
        labels: Class ids `(...)` or `(..., 1)`, or one-hot rows `(..., N)`; 0 and 1 of any dtype
            for one unit and for several labels. An integer -1 is kept: unlabeled.
        outputs: `(..., N)`.
        task: What they predict.

    Raises:
        InputError: If the labels have another form.

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
    """Returns the task that labels of classes show; `label_ids` then checks their form."""
    if outputs.shape[-1] == 1:
        return Task.BINARY
    values = np.asarray(labels)
    if values.shape != outputs.shape or values.dtype.kind not in "biuf" or not values.size:
        return Task.CLASSES
    likely = of_labels(values, outputs.shape).likely
    return likely if likely in (Task.CLASSES, yes_or_no(outputs.shape[-1])) else Task.CLASSES
