"""The metric of a verification: the one place where it is chosen.

An output with labels of classes is judged by its accuracy: of N classes, of two classes in one
unit, or of several labels. Another output has no metric, and is judged by differences alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_distill import metrics
from keras_distill._internal import InputError
from keras_distill._internal._types import Array
from keras_distill.metrics import Task


def score(outputs: Array, labels: Array) -> float:
    """Returns the accuracy, 0..1, of labels that `labels_by_output` returned.

    Example:
        >>> score(np.array([[0.9], [0.2]]), np.array([1, 1]))
        0.5
    """
    return metrics.accuracy(outputs, labels, task=_task_of(outputs, labels))


def agreement(reference: Array, produced: Array, labels: Array | None) -> float | None:
    """Returns the share of samples with the same prediction; None for outputs without classes.

    Without labels, one unit may be a value.

    Example:
        >>> agreement(np.array([[2.0, 1.0]]), np.array([[9.0, 1.0]]), None)
        1.0
    """
    if reference.ndim < 2 or (reference.shape[-1] < 2 and labels is None):
        return None
    task = None if labels is None else _task_of(reference, labels)
    return metrics.agreement(reference, produced, task=task)


def _task_of(outputs: Array, labels: Array) -> Task:
    if outputs.shape[-1] == 1:
        return Task.BINARY
    return Task.MULTI_LABEL if labels.shape == outputs.shape else Task.CLASSES


def labels_by_output(labels: Any, reference: Mapping[str, Array]) -> dict[str, Array]:
    """Returns the labels that `score` takes by output, without the outputs that it cannot judge.

    Args:
        labels: Labels of one output, a dict by output, a list in the order of outputs, or None.
        reference: The outputs by name.

    Raises:
        InputError: If integer labels do not fit their output, or all rows of an output are
            unlabeled.
    """
    found: dict[str, Array] = {}
    for name, outputs in reference.items():
        own = _labels_of(labels, name, list(reference))
        if own is None or outputs.ndim < 2:
            continue
        task = _task_shown(np.asarray(own), outputs)
        if task is not None:
            found[name] = metrics.label_ids(own, outputs, task)
            if (found[name] < 0).all():
                raise InputError(f"`data` has no labeled row for output {name!r}.")
    return found


def _task_shown(labels: Array, outputs: Array) -> Task | None:
    """Returns the task that labels show; None for the values of a regression."""
    same = labels.shape == outputs.shape and labels.dtype.kind in "biuf" and bool(labels.size)
    if outputs.shape[-1] == 1:
        bits = (-1, 0, 1) if labels.dtype.kind == "i" else (0, 1)
        return Task.BINARY if np.isin(labels, bits).all() else None
    if same:
        shown = metrics.of_labels(labels, outputs.shape).likely
        if shown in (Task.CLASSES, Task.MULTI_LABEL):
            return shown
    return None if labels.dtype.kind == "f" else Task.CLASSES


def _labels_of(labels: Any, name: str, outputs: Sequence[str]) -> Any:
    if isinstance(labels, Mapping):
        return labels.get(name)
    if isinstance(labels, list | tuple) and len(labels) == len(outputs):
        return labels[list(outputs).index(name)]
    return labels if len(outputs) == 1 else None
