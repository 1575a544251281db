"""Infers the task of an output from its activation, its loss, and its labels.

The task determines the hard loss, the soft loss, and the metrics. Each known fact, such as a
softmax at the end of the student or labels of 0 and 1, becomes an `Evidence` with the tasks that it
is compatible with. `settle` finds the task that is compatible with all evidence, and rejects
evidence that contradicts itself.
"""

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_distill._internal import InputError
from keras_distill._internal._probabilities import look_like_probabilities
from keras_distill._internal._types import Array, Shape


class Task(enum.Enum):
    """The task of one output of a model: what the output predicts.

    Attributes:
        CLASSES: One of N >= 2 classes, with logits `(..., N)` for a softmax.
        BINARY: Class 0 or class 1, with one logit `(..., 1)`, that of class 1, for a sigmoid.
        MULTI_LABEL: N >= 2 independent labels, each 0 or 1, with logits `(..., N)` for a sigmoid.
        REGRESSION: Numeric values.
    """

    CLASSES = "classes"
    BINARY = "two classes in one unit"
    MULTI_LABEL = "several labels"
    REGRESSION = "regression"


_ANY = frozenset(Task)
_REMEDIES = {
    Task.CLASSES: "SoftTargetLoss with Sparse- or CategoricalCrossentropy and a softmax head",
    Task.BINARY: "MultiLabelSoftLoss with BinaryCrossentropy and one sigmoid unit",
    Task.MULTI_LABEL: "MultiLabelSoftLoss with BinaryCrossentropy and a sigmoid head",
    Task.REGRESSION: "RegressionLoss with MeanSquaredError and a head without softmax or sigmoid",
}
_CATEGORICAL = {
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
}
_BINARY = {"binary_crossentropy", "binary_focal_crossentropy"}
_EITHER = {"crossentropy", "ce"}
_MANY = 1000  # labels
_VALUES = {
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
    "poisson",
}


class Evidence(NamedTuple):
    """A known fact about an output, and the tasks that it is compatible with.

    Attributes:
        what: The fact, for messages, such as "the student ends in softmax (layer 'd')".
        tasks: The compatible tasks.
        likely: The most likely of these tasks, or None if the fact favors none.
    """

    what: str
    tasks: frozenset[Task]
    likely: Task | None = None


def yes_or_no(units: int | None) -> Task:
    """Returns the task of a sigmoid output: `BINARY` for one unit, otherwise `MULTI_LABEL`."""
    return Task.BINARY if units == 1 else Task.MULTI_LABEL


def of_activation(kind: str, shape: Shape, what: str) -> Evidence | None:
    """Returns the evidence from the final activation, or None for other activations.

    Args:
        kind: "softmax", "sigmoid", or another activation.
        shape: The shape of the output.
        what: The text of the evidence, for messages.
    """
    if kind == "softmax":
        return Evidence(what, frozenset([Task.CLASSES]), Task.CLASSES)
    if kind == "sigmoid":
        task = yes_or_no(_units(shape))
        return Evidence(what, frozenset([task]), task)
    return None


def of_loss(name: str, shape: Shape, what: str) -> Evidence | None:
    """Returns the evidence from a hard loss, or None for an unknown loss.

    A regression loss makes regression likely but excludes no task, because a classifier can be
    trained with it too: the squared error is then the Brier score.

    Args:
        name: The name of the loss function in Keras, such as "mean_squared_error".
        shape: The shape of the output.
        what: The text of the evidence, for messages.
    """
    one = _units(shape) == 1
    if name in _CATEGORICAL or (name in _EITHER and not one):
        return Evidence(what, frozenset([Task.CLASSES]), Task.CLASSES)
    if name in _BINARY or name in _EITHER:
        task = yes_or_no(_units(shape))
        # One-hot labels can be trained with binary crossentropy too.
        return Evidence(what, frozenset([task, *([] if one else [Task.CLASSES])]), task)
    if name in _VALUES:
        return Evidence(what, _ANY, Task.REGRESSION)
    return None


def of_labels(labels: Any, shape: Shape, labeled: Any = None) -> Evidence:
    """Returns the evidence from labels.

    Args:
        labels: The labels of one output, as numbers.
        shape: The shape of the output, with the batch axis.
        labeled: bool `(B,)`, the rows to read. If None, all rows are read.

    Raises:
        InputError: If the labels are not numbers, or their shape does not match the output's.

    Example:
        >>> of_labels([0, 2, 1], (None, 3)).likely, of_labels([[1, 1, 0]], (None, 3)).likely
        (<Task.CLASSES: 'classes'>, <Task.MULTI_LABEL: 'several labels'>)
        >>> of_labels([0, 1], (None, 1)).likely, of_labels([0.3, 7.0], (None, 1)).likely
        (<Task.BINARY: 'two classes in one unit'>, <Task.REGRESSION: 'regression'>)
    """
    values = np.asarray(labels)
    if values.dtype.kind not in "biuf":
        raise InputError(f"Labels must be numbers. Received: {values.dtype}.")
    if labeled is not None:
        values = values[np.asarray(labeled, bool)]
    if not values.size:
        return Evidence("there are no labels", _ANY)
    units, rank = _units(shape), max(len(shape), 2)
    column = values.ndim == rank and values.shape[-1] == 1
    if values.ndim == rank - 1 or column:
        return _of_numbers(values, units)
    if values.ndim != rank or values.shape[-1] != units:
        raise no_loss_fits(values.shape, shape)
    return _of_rows(values)


def no_loss_fits(labels: Shape, outputs: Shape) -> InputError:
    """Returns the error for labels whose shape does not match the outputs."""
    return InputError(
        f"No loss fits labels of shape {(None, *labels[1:])} and outputs of shape"
        f" {tuple(outputs)}. Call compile(loss=...) first."
    )


def _of_numbers(values: Array, units: int | None) -> Evidence:
    """Returns the evidence from labels with one number per position."""
    if units != 1:
        whole = values.dtype.kind in "biu" or bool((values == np.round(values)).all())
        if not whole:
            return Evidence("the labels are values that are not whole numbers", frozenset())
        return Evidence("the labels are class ids", frozenset([Task.CLASSES]), Task.CLASSES)
    found = np.unique(values)
    both = frozenset([Task.BINARY, Task.REGRESSION])
    if np.isin(found, (0, 1)).all():
        return Evidence("the labels are 0 and 1", both, Task.BINARY)
    # -1 may mean that a row has no label. Only the activation or the loss can tell. Among many
    # rows, at least one would have the label 0.
    unlabeled = values.dtype.kind == "i" and np.isin(found, (-1, 0, 1)).all()
    if unlabeled and (0 in found or len(found) == 1 or values.size < _MANY):
        return Evidence("the labels are -1, and 0 or 1", both)
    shown = f"the labels are values from {found.min():.4g} to {found.max():.4g}"
    if values.dtype.kind == "f" and found.min() >= 0 and found.max() <= 1:
        return Evidence(shown, both, Task.REGRESSION)
    return Evidence(shown, frozenset([Task.REGRESSION]), Task.REGRESSION)


def _of_rows(values: Array) -> Evidence:
    """Returns the evidence from labels with one number per unit."""
    several = [Task.MULTI_LABEL, Task.REGRESSION]
    if look_like_probabilities(values, tolerance=1e-3):
        return Evidence("the labels are one-hot", frozenset([Task.CLASSES, *several]), Task.CLASSES)
    if np.isin(values, (0, 1)).all():
        what = "the labels are rows of 0 and 1 with any number of ones"
        return Evidence(what, frozenset(several), Task.MULTI_LABEL)
    shown = f"the labels are rows of values from {values.min():.4g} to {values.max():.4g}"
    if values.min() >= 0 and values.max() <= 1:
        return Evidence(shown, frozenset(several), Task.REGRESSION)
    return Evidence(shown, frozenset([Task.REGRESSION]), Task.REGRESSION)


def settle(evidence: Sequence[Evidence]) -> Task | None:
    """Returns the task that is compatible with all evidence, or None if it is undetermined.

    If several tasks are compatible, the last evidence whose likely task is one of them decides.
    Therefore give the strongest evidence last.

    Args:
        evidence: The evidence, in the order in which it is checked for contradictions.

    Raises:
        InputError: If no task is compatible with all evidence. If two facts contradict each other,
            the error names losses for the task of each.

    Example:
        >>> softmax = of_activation("softmax", (None, 3), "the student ends in softmax")
        >>> settle([of_labels([0, 2], (None, 3)), softmax])
        <Task.CLASSES: 'classes'>
        >>> settle([of_labels([[1, 1, 0]], (None, 3)), softmax])
        Traceback (most recent call last):
        keras_distill.InputError: The task is not clear: the labels are rows of 0 and 1 with any \
number of ones (several labels), but the student ends in softmax (classes). For several labels, \
use MultiLabelSoftLoss with BinaryCrossentropy and a sigmoid head. For classes, use \
SoftTargetLoss with Sparse- or CategoricalCrossentropy and a softmax head.
    """
    left, narrowed = _ANY, None
    for part in evidence:
        if not left & part.tasks:
            raise _contradiction(narrowed or part, part, left)
        if not left <= part.tasks:
            left, narrowed = left & part.tasks, part
    likely = [part.likely for part in reversed(evidence) if part.likely in left]
    if likely:
        return likely[0]
    return next(iter(left)) if len(left) == 1 else None


def _contradiction(first: Evidence, second: Evidence, left: frozenset[Task]) -> InputError:
    if not second.tasks:
        return InputError(
            f"No loss fits: {second.what}, one for each row. For classes, give whole numbers; for"
            " a regression, a model with one unit."
        )
    own = first.likely if first.likely in left else sorted(left, key=_order)[0]
    assert own is not None
    other = second.likely or sorted(second.tasks, key=_order)[0]
    remedies = [f"For {task.value}, use {_REMEDIES[task]}." for task in dict.fromkeys([own, other])]
    return InputError(
        f"The task is not clear: {first.what} ({own.value}), but {second.what} ({other.value})."
        f" {' '.join(remedies)}"
    )


def _order(task: Task) -> int:
    return list(Task).index(task)


def read_task(
    shape: Shape, labels: Any = None, *, activation: str | None = None, loss: str | None = None
) -> Task | None:
    """Infers the task of an output, or returns None if it is undetermined.

    Args:
        shape: The shape of the output, with the batch axis.
        labels: Some labels of the output, or None.
        activation: The final activation, such as "softmax" or "sigmoid", or None.
        loss: The name of the hard loss function in Keras, or None.

    Raises:
        InputError: If labels, activation, and loss contradict each other, or the labels do not
            match the shape.

    Example:
        >>> read_task((None, 1), [0, 1, 1]), read_task((None, 5), activation="sigmoid")
        (<Task.BINARY: 'two classes in one unit'>, <Task.MULTI_LABEL: 'several labels'>)
    """
    known = [
        None if labels is None else of_labels(labels, shape),
        None
        if activation is None
        else of_activation(activation, shape, f"it ends in {activation}"),
        None if loss is None else of_loss(loss, shape, f"its loss is {loss}"),
    ]
    return settle([part for part in known if part is not None])


def _units(shape: Shape) -> int | None:
    """Returns the number of units; 1 for an output `(B,)`, which has one value per row."""
    return shape[-1] if len(shape) > 1 else 1
