"""The accuracy of a teacher on the labels of the data, measured while its logits are stored."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_distill import metrics
from keras_distill._internal import InputError
from keras_distill._internal._types import Array
from keras_distill.metrics import Task
from keras_distill.records import TargetsBuild


class TeacherScore:
    """Counts correct predictions of one output, and measures the speed of a build."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._rows = self._right = self._labeled = 0
        self._task: Task | None = None
        self._judged = True

    def add(self, values: Mapping[Any, Array], labels: Any, *, view: int) -> None:
        """Adds a batch.

        Args:
            values: Logits by output name.
            labels: Labels of the batch, or None.
            view: The view; labels are compared in the first only.
        """
        outputs = next(iter(values.values()))
        self._rows += len(outputs)
        if view or not self._judged or labels is None or len(values) > 1:
            return
        try:
            self._judge(outputs, np.asarray(labels))
        except InputError:  # the labels belong to a different task than the teacher's
            self._judged = False

    def _judge(self, outputs: Array, labels: Array) -> None:
        if self._task is None:
            self._task = metrics.read_task(outputs.shape, labels)
        if self._task is None:
            return
        ids = metrics.label_ids(labels, outputs, self._task)
        if (ids == -1).all():
            return
        rows = metrics.class_rows(outputs, labels, task=self._task, from_probabilities=False)
        self._right += int((rows.logits.argmax(axis=1) == rows.ids).sum())
        self._labeled += len(rows.ids)

    def counts(self) -> dict[str, Any]:
        """Returns what `merge` adds to the score of another process."""
        return {
            "rows": self._rows,
            "right": self._right,
            "labeled": self._labeled,
            "judged": self._judged,
        }

    def merge(self, counts: Mapping[str, Any]) -> None:
        """Adds what `counts` returned in the process that wrote a part of the store."""
        self._rows += counts["rows"]
        self._right += counts["right"]
        self._labeled += counts["labeled"]
        self._judged &= counts["judged"]

    def result(self) -> TargetsBuild:
        """Returns what was measured."""
        known = self._judged and self._labeled > 0
        return TargetsBuild(
            rows=self._rows,
            rows_per_second=self._rows / max(time.monotonic() - self._start, 1e-9),
            labeled=self._labeled if known else 0,
            accuracy=self._right / self._labeled if known else None,
        )


def judged_labels(y: Any) -> Any:
    """Returns a label as a tensor of numbers for the score; None for a structure or text.

    Args:
        y: The labels of one element, in a `tf.data` map, or its spec.
    """
    dtype = getattr(y, "dtype", None)
    if dtype is None or not (dtype.is_integer or dtype.is_floating or dtype.is_bool):
        return None
    return y if y.shape.is_fully_defined() else None
