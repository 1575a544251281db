"""What an output predicts: the one reading of the task, from heads, losses, and labels.

The hard loss, the soft loss, and the metrics follow from it. Each thing that is known (a softmax
at the end of the student, labels 0 and 1, …) is an `Evidence`: the tasks that it fits. `settle`
finds the task that fits all of them, and refuses things that contradict each other.
"""

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_distill._internal import InputError
from keras_distill._internal._probabilities import look_like_probabilities
from keras_distill._internal._types import Array, Shape


class Task(enum.Enum):
    """What one output of a model predicts.

    Attributes:
        CLASSES: One of N >= 2 classes: logits `(..., N)` under a softmax.
        BINARY: One of the classes 0 and 1: one logit `(..., 1)`, that of class 1, under a sigmoid.
        MULTI_LABEL: N >= 2 labels, each yes or no: logits `(..., N)` under a sigmoid.
        REGRESSION: Values.
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
    """Something that is known of an output.

    Attributes:
        what: What it is, for messages: "the student ends in softmax (layer 'd')".
        tasks: The tasks that it fits.
        likely: The most likely of them; None if none is.
    """

    what: str
    tasks: frozenset[Task]
    likely: Task | None = None


def yes_or_no(units: int | None) -> Task:
    """Returns the task of outputs under a sigmoid."""
    return Task.BINARY if units == 1 else Task.MULTI_LABEL


def of_activation(kind: str, shape: Shape, what: str) -> Evidence | None:
    """Returns what an activation at the end shows; None if nothing.

    Args:
        kind: "softmax", "sigmoid", or another word.
        shape: Shape of the output.
        what: For messages.
    """
    if kind == "softmax":
        return Evidence(what, frozenset([Task.CLASSES]), Task.CLASSES)
    if kind == "sigmoid":
        task = yes_or_no(_units(shape))
        return Evidence(what, frozenset([task]), task)
    return None


def of_loss(name: str, shape: Shape, what: str) -> Evidence | None:
    """Returns what a hard loss shows; None if nothing.

    A squared error serves a classifier too, as the Brier score does.

    Args:
        name: Keras's name of its function: "mean_squared_error".
        shape: Shape of the output.
        what: For messages.
    """
    one = _units(shape) == 1
    if name in _CATEGORICAL or (name in _EITHER and not one):
        return Evidence(what, frozenset([Task.CLASSES]), Task.CLASSES)
    if name in _BINARY or name in _EITHER:
        task = yes_or_no(_units(shape))
        # One-hot rows of classes are trained with it too.
        return Evidence(what, frozenset([task, *([] if one else [Task.CLASSES])]), task)
    if name in _VALUES:
        return Evidence(what, _ANY, Task.REGRESSION)
    return None


def of_labels(labels: Any, shape: Shape, labeled: Any = None) -> Evidence:
    """Returns what labels show.

    Args:
        labels: Labels of one output: numbers.
        shape: Shape of the output.
        labeled: bool `(B,)`: the rows to read; None: all.

    Raises:
        InputError: If the shapes do not fit each other.

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
    """Returns the error for labels of another shape than the outputs need."""
    return InputError(
        f"No loss fits labels of shape {(None, *labels[1:])} and outputs of shape"
        f" {tuple(outputs)}. Call compile(loss=...) first."
    )


def _of_numbers(values: Array, units: int | None) -> Evidence:
    """Returns what one number for each position shows."""
    if units != 1:
        whole = values.dtype.kind in "biu" or bool((values == np.round(values)).all())
        if not whole:
            return Evidence("the labels are values that are not whole numbers", frozenset())
        return Evidence("the labels are class ids", frozenset([Task.CLASSES]), Task.CLASSES)
    found = np.unique(values)
    both = frozenset([Task.BINARY, Task.REGRESSION])
    if np.isin(found, (0, 1)).all():
        return Evidence("the labels are 0 and 1", both, Task.BINARY)
    # -1 may mean that a row has no label; only heads and losses can tell. Of many rows, some would
    # have the label 0.
    unlabeled = values.dtype.kind == "i" and np.isin(found, (-1, 0, 1)).all()
    if unlabeled and (0 in found or len(found) == 1 or values.size < _MANY):
        return Evidence("the labels are -1, and 0 or 1", both)
    shown = f"the labels are values from {found.min():.4g} to {found.max():.4g}"
    if values.dtype.kind == "f" and found.min() >= 0 and found.max() <= 1:
        return Evidence(shown, both, Task.REGRESSION)
    return Evidence(shown, frozenset([Task.REGRESSION]), Task.REGRESSION)


def _of_rows(values: Array) -> Evidence:
    """Returns what one number for each of several units shows."""
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
    """Returns the task that fits all evidence; None if nothing decides.

    Where several fit, it is what the last evidence with a likely task says: give the strongest
    last.

    Args:
        evidence: What is known, in the order in which contradictions are looked for.

    Raises:
        InputError: If two contradict each other; it names the losses that fit the first.

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
    """Returns what an output predicts; None if nothing decides.

    Args:
        shape: Shape of the output, with the batch axis.
        labels: Some of its labels, or None.
        activation: "softmax" or "sigmoid" if it ends so, or None.
        loss: Keras's name of its hard loss, or None.

    Raises:
        InputError: If labels, activation, and loss contradict each other.

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
    """Returns the number of units; 1 for an output `(B,)`, which is a value for each row."""
    return shape[-1] if len(shape) > 1 else 1
