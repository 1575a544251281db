"""Selects the metric of an output from its labels, and evaluates outputs with it.

| output | labels | metric |
|---|---|---|
| one of N classes, two classes in one unit, several labels | classes | accuracy |
| one of N classes, or two classes in one unit, per pixel, `(n, H, W, N)` | classes | mIoU |
| values | values of the same shape | R2 |
| the reconstruction of an input | 0 (normal) or 1 (anomaly) for each row | AUC |

The AUC ranks the rows by reconstruction error. Every metric is larger for a better model and at
most 1, so that one rule applies to all: a drop of 0.01 is one point.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from keras_distill._internal import InputError
from keras_distill._internal._probabilities import Declared
from keras_distill._internal._types import Array
from keras_distill.metrics import _measures
from keras_distill.metrics._class_rows import class_rows, label_ids
from keras_distill.metrics._input_range import constant_accuracy
from keras_distill.metrics._quality import accuracy, agreement
from keras_distill.metrics._task import Task, of_labels

Metric = Literal["accuracy", "mIoU", "R2", "AUC"]


class ClassScore(NamedTuple):
    """The score of a model on one class.

    Attributes:
        label: The class id, or for several labels, the index of the label.
        samples: The number of examples or pixels of the class. For several labels, the number of
            rows in which the label is known.
        score: The recall of the class: the share of its examples that are predicted correctly. If
            the metric is mIoU, the intersection over union. For several labels, the share of rows
            in which the label is predicted correctly.
    """

    label: int
    samples: int
    score: float


class Truth(NamedTuple):
    """The labels of one output, and the metric that evaluates it.

    Attributes:
        metric: "accuracy", "mIoU", "R2", or "AUC". See the module for the rule.
        task: What the output predicts.
        labels: Class ids from `label_ids`. For R2, the values. For AUC, 0 or 1 for each row.
        inputs: The input that the output reconstructs, for AUC; otherwise None.
    """

    metric: Metric
    task: Task
    labels: Array
    inputs: Array | None = None

    @property
    def of_classes(self) -> bool:
        """Whether the output predicts classes."""
        return self.task is not Task.REGRESSION

    @property
    def labeled(self) -> Array:
        """Whether each row has at least one label, bool `(n,)`."""
        if not self.of_classes:
            return np.ones(len(self.labels), bool)
        return (self.labels >= 0).reshape(len(self.labels), -1).max(axis=1)

    def take(self, rows: Array) -> "Truth":
        """Returns the labels (and inputs) of the selected rows."""
        inputs = None if self.inputs is None else self.inputs[rows]
        return self._replace(labels=self.labels[rows], inputs=inputs)

    @property
    def step(self) -> float:
        """The drop of the metric caused by one more wrong prediction, in points.

        For AUC, it is the drop caused by one more pair of rows in the wrong order. 0 means that the
        metric is continuous (R2).

        Example:
            >>> truth_of([0, 1], np.zeros((2, 3))).step
            50.0
        """
        if self.metric == "R2":
            return 0.0
        if self.metric == "AUC":
            anomalies = int(self.labels.sum())
            return 100 / max(1, anomalies * (len(self.labels) - anomalies))
        return 100 / max(1, int((self.labels >= 0).sum()))

    def rows_for(self, points: float) -> int:
        """Returns how many rows like these are needed to detect a drop of `points` (> 0)."""
        more = self.step / points
        # The resolution of an AUC is the number of pairs of rows, which grows quadratically.
        return math.ceil(len(self.labels) * (more**0.5 if self.metric == "AUC" else more) - 1e-9)

    def score(self, outputs: Array, from_probabilities: Declared = None) -> float:
        """Computes the metric of outputs.

        Args:
            outputs: The outputs of a model, `(n, ...)`.
            from_probabilities: See `metrics.accuracy`.

        Example:
            >>> outputs = np.array([[2.0, 1.0], [0.0, 3.0]])
            >>> truth_of([0, 0], outputs).score(outputs)
            0.5
        """
        if self.metric == "accuracy":
            return accuracy(
                outputs, self.labels, task=self.task, from_probabilities=from_probabilities
            )
        if self.metric == "mIoU":
            return _measures.mean_overlap(*self._predictions(outputs, from_probabilities))
        if self.metric == "R2":
            return _measures.explained_variance(_shaped(outputs, self.labels), self.labels)
        assert self.inputs is not None
        errors = _measures.reconstruction_errors(outputs, self.inputs)
        return _measures.area_under_curve(errors, self.labels)

    def measures(self, outputs: Array, from_probabilities: Declared = None) -> dict[str, float]:
        """Computes all measures except the accuracy: mIoU, R2 and MAE, or AUC, by name."""
        found: dict[str, float] = {}
        if self.metric != "accuracy":
            found[self.metric] = self.score(outputs, from_probabilities)
        if self.metric == "R2":
            got = _shaped(outputs, self.labels)
            found["MAE"] = _measures.mean_absolute_error(got, self.labels)
        return found

    def accuracy(self, outputs: Array, from_probabilities: Declared = None) -> float | None:
        """Computes the accuracy (per pixel for mIoU), or returns None if the task is regression."""
        if not self.of_classes:
            return None
        known: dict[str, Any] = {"task": self.task, "from_probabilities": from_probabilities}
        return accuracy(outputs, self.labels, **known)

    def agreement(self, reference: Array, outputs: Array) -> float | None:
        """Computes the agreement with reference outputs, or returns None for a regression."""
        return agreement(reference, outputs, task=self.task) if self.of_classes else None

    def constant(self) -> float:
        """Returns the metric of a model that ignores its input.

        The model always predicts the most frequent class (for several labels, the more frequent of
        0 and 1 for each label). R2 is 0 for the mean, and AUC is 0.5 for equal scores.
        """
        if self.metric == "R2":
            return 0.0
        if self.metric == "AUC":
            return 0.5
        if self.metric == "accuracy" and self.task is Task.MULTI_LABEL:
            rows = self.labels.reshape(-1, self.labels.shape[-1])
            known, ones = (rows >= 0).sum(axis=0), (rows == 1).sum(axis=0)
            return float(np.maximum(ones, known - ones).sum() / known.sum())
        if self.metric == "accuracy":
            return constant_accuracy(self.labels)
        ids = self.labels[self.labels >= 0]
        counts = np.bincount(ids)
        return float(counts.max() / ids.size / (counts > 0).sum())

    def by_class(self, outputs: Array, from_probabilities: Declared = None) -> list[ClassScore]:
        """Computes the score of each class that has labels; the list is empty for a regression."""
        if not self.of_classes:
            return []
        predicted, ids, classes = self._predictions(outputs, from_probabilities)
        if self.task is Task.MULTI_LABEL:
            units = self.labels.shape[-1]
            group = np.tile(np.arange(units), self.labels.size // units)
            group, classes = group[self.labels.reshape(-1) >= 0], units
        else:
            group = ids
        counts = np.bincount(group, minlength=classes)
        if self.metric == "mIoU":
            scores = _measures.class_overlaps(predicted, ids, classes)
        else:
            right = np.bincount(group, predicted == ids, minlength=classes)
            scores = right / np.maximum(counts, 1)
        return [
            ClassScore(label, int(counts[label]), float(scores[label]))
            for label in np.flatnonzero(counts).tolist()
        ]

    def _predictions(
        self, outputs: Array, from_probabilities: Declared = None
    ) -> tuple[Array, Array, int]:
        """Returns predicted and true class ids of the labeled rows, and the number of classes."""
        known: dict[str, Any] = {"task": self.task, "from_probabilities": from_probabilities}
        logits, ids = class_rows(outputs, self.labels, **known)
        return logits.argmax(axis=1), ids, logits.shape[1]


def truth_of(labels: Any, outputs: Array, inputs: Sequence[Array] = ()) -> Truth | None:
    """Selects the metric of an output from its labels.

    Args:
        labels: The labels of the output, or None.
        outputs: The outputs of a model, `(n, ...)`.
        inputs: The inputs of the model, to detect an output that reconstructs one of them.

    Returns:
        The labels with their metric. None if there are no labels, the outputs have fewer than two
        axes, or the labels cannot evaluate the outputs: float labels of another shape, or values
        that are not finite or do not vary.

    Raises:
        InputError: If class labels do not match the output, or no row is labeled.

    Example:
        >>> truth_of([[0.5], [2.0]], np.zeros((2, 1))).metric
        'R2'
        >>> x = np.random.default_rng(0).normal(size=(4, 8))
        >>> truth_of([0, 1, 0, 1], x * 0.9, [x]).metric
        'AUC'
    """
    if labels is None or outputs.ndim < 2:
        return None
    values = np.asarray(labels)
    reconstructed = _reconstructed(values, outputs, inputs)
    if reconstructed is not None:
        return Truth("AUC", Task.REGRESSION, values.reshape(-1).astype(np.int64), reconstructed)
    task = _task_shown(values, outputs)
    if task is None:
        return None
    if task is Task.REGRESSION:
        y = _shaped(values.astype(np.float64), outputs)
        known = np.isfinite(y).all() and np.ptp(y, axis=0).any()
        return Truth("R2", task, y) if known else None
    ids = label_ids(values, outputs, task)
    if (ids < 0).all():
        raise InputError("there is no labeled row.")
    pixels = outputs.ndim >= 4 and task is not Task.MULTI_LABEL
    return Truth("mIoU" if pixels else "accuracy", task, ids)


def _reconstructed(labels: Array, outputs: Array, inputs: Sequence[Array]) -> Array | None:
    """Returns the input that the outputs reconstruct, or None.

    The labels must be one 0 or 1 per row, and both must occur.
    """
    rows = len(outputs)
    if labels.shape not in ((rows,), (rows, 1)) or labels.dtype.kind not in "biuf":
        return None
    # Two units with the labels 0 and 1 are more likely a classifier of points in a plane.
    if outputs[0].size <= 2 or set(np.unique(labels).tolist()) != {0, 1}:
        return None
    for x in inputs:
        if x.shape == outputs.shape and x.dtype.kind in "fiu":
            error = np.asarray(outputs, np.float64) - x
            # The outputs of a classifier with as many classes as inputs are not close to its input.
            if (error**2).mean() < np.asarray(x, np.float64).var():
                return x
    return None


def _task_shown(labels: Array, outputs: Array) -> Task | None:
    """Infers the task from labels, or returns None if they do not belong to this output."""
    numeric, same = labels.dtype.kind in "biuf", labels.shape == outputs.shape
    if not numeric or not labels.size:
        return None if labels.dtype.kind == "f" else Task.CLASSES
    if outputs.shape[-1] == 1:
        bits = (-1, 0, 1) if labels.dtype.kind == "i" else (0, 1)
        if np.isin(labels, bits).all():
            return Task.BINARY
        return Task.REGRESSION if same or labels.shape == outputs.shape[:-1] else None
    if same:
        return of_labels(labels, outputs.shape).likely
    return None if labels.dtype.kind == "f" else Task.CLASSES


def _shaped(values: Array, like: Array) -> Array:
    """Reshapes values to the shape of `like`, such as `(n,)` to `(n, 1)` or back."""
    return values if values.shape == like.shape else values.reshape(like.shape)
