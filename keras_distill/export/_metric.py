"""The metric of a verification: the one place where it is chosen.

An output `(n, …, classes)` with class labels is judged by its accuracy. Another output has no
metric, and is judged by differences alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_distill import metrics
from keras_distill._internal import InputError
from keras_distill._internal._types import Array
from keras_distill.teachers import look_like_probabilities

score = metrics.accuracy
"""`score(outputs, labels)`, 0..1, of labels that `labels_by_output` returned."""


def agreement(reference: Array, produced: Array) -> float | None:
    """Returns the share of samples with the same largest entry; None for outputs without classes.

    Example:
        >>> agreement(np.array([[2.0, 1.0]]), np.array([[9.0, 1.0]]))
        1.0
    """
    return metrics.agreement(reference, produced) if _has_classes(reference) else None


def _has_classes(outputs: Array) -> bool:
    return outputs.ndim >= 2 and outputs.shape[-1] >= 2


def class_ids(labels: Any, outputs: Array) -> Array:
    """Returns labels as class ids `(n, …)`, for outputs `(n, …, classes)`.

    Args:
        labels: Class ids, with or without a last axis of 1, or rows of probabilities (one-hot).
        outputs: The outputs that they label.

    Raises:
        InputError: If the labels have another form.

    Example:
        >>> class_ids([[0, 1], [1, 0]], np.zeros((2, 2))).tolist()
        [1, 0]
    """
    labels = np.asarray(labels)
    if labels.ndim == outputs.ndim and labels.shape[-1] == 1:
        labels = labels[..., 0]
    elif _are_probabilities(labels, outputs):
        labels = labels.argmax(-1)
    if labels.shape != outputs.shape[:-1] or labels.dtype.kind not in "iu":
        raise InputError(
            f"`data` must have class ids {outputs.shape[:-1]} or one-hot rows for outputs of shape"
            f" {outputs.shape}. Received: labels {labels.dtype} {labels.shape}"
        )
    return labels


def _are_probabilities(labels: Array, outputs: Array) -> bool:
    numeric = labels.shape == outputs.shape and labels.dtype.kind in "iufb"
    return numeric and look_like_probabilities(labels, tolerance=1e-3)


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
        if own is None or not _has_classes(outputs):
            continue
        regression = np.asarray(own).dtype.kind == "f" and not _are_probabilities(
            np.asarray(own), outputs
        )
        if not regression:
            found[name] = class_ids(own, outputs)
            if (found[name] < 0).all():
                raise InputError(f"`data` has no labeled row for output {name!r}.")
    return found


def _labels_of(labels: Any, name: str, outputs: Sequence[str]) -> Any:
    if isinstance(labels, Mapping):
        return labels.get(name)
    if isinstance(labels, list | tuple) and len(labels) == len(outputs):
        return labels[list(outputs).index(name)]
    return labels if len(outputs) == 1 else None
