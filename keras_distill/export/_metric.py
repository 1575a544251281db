"""Assigns to each output its labels and the metric that judges it (`metrics.Truth`).

An output whose labels fit no metric is judged only by the differences of its values.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_distill import metrics
from keras_distill._internal import InputError
from keras_distill._internal._types import Array
from keras_distill.metrics import Truth
from keras_distill.records import MeasureRecord, WorstClass


def agreement(reference: Array, produced: Array, truth: Truth | None) -> float | None:
    """Returns the fraction of samples with the same prediction; None for outputs without classes.

    Without labels, an output with a single unit may be a regression value and has no classes.

    Example:
        >>> import numpy as np
        >>> agreement(np.array([[2.0, 1.0]]), np.array([[9.0, 1.0]]), None)
        1.0
    """
    if truth is not None:
        return truth.agreement(reference, produced)
    if reference.ndim < 2 or reference.shape[-1] < 2:
        return None
    return metrics.agreement(reference, produced)


def truths_by_output(
    labels: Any, reference: Mapping[str, Array], x: Mapping[str, Array] | None = None
) -> dict[str, Truth]:
    """Returns the labels of each output with its metric. Outputs without labels are left out.

    Args:
        labels: Labels of one output, a dict by output, a list in the order of outputs, or None.
        reference: The outputs by name.
        x: The inputs. An autoencoder is judged by how well it reconstructs them.

    Raises:
        InputError: If integer labels do not fit their output, or all rows of an output are
            unlabeled.
    """
    found: dict[str, Truth] = {}
    for name, outputs in reference.items():
        own = _labels_of(labels, name, list(reference))
        try:
            truth = metrics.truth_of(own, outputs, tuple((x or {}).values()))
        except InputError as error:
            raise InputError(f"`data` for output {name!r}: {error}") from error
        if truth is not None:
            found[name] = truth
    return found


def measures(
    truth: Truth, reference: Array, converted: Array | None, file: Array
) -> dict[str, MeasureRecord]:
    """Returns the measurements other than the accuracy, for the record."""
    before, after = _measured(truth, reference), _measured(truth, file)
    own = {} if converted is None else _measured(truth, converted)
    return {
        name: MeasureRecord(reference=before[name], converted=own.get(name), file=after[name])
        for name in before
    }


def _measured(truth: Truth, outputs: Array) -> dict[str, float]:
    found = truth.measures(outputs)
    if truth.of_classes:
        found["ECE"] = metrics.expected_calibration_error(
            metrics.as_logits(outputs, task=truth.task),
            truth.labels,
            task=truth.task,
            from_probabilities=False,
        )
    return found


def worst_class(truth: Truth, reference: Array, file: Array) -> WorstClass | None:
    """Returns the class that loses the most accuracy; None for outputs without classes."""
    before, after = truth.by_class(reference), truth.by_class(file)
    pairs = list(zip(before, after, strict=True))
    if len(pairs) < 2:
        return None
    old, new = max(pairs, key=lambda pair: pair[0].score - pair[1].score)
    return WorstClass(
        label=old.label, samples=old.samples, score_reference=old.score, score=new.score
    )


def _labels_of(labels: Any, name: str, outputs: Sequence[str]) -> Any:
    if isinstance(labels, Mapping):
        return labels.get(name)
    if isinstance(labels, list | tuple) and len(labels) == len(outputs):
        return labels[list(outputs).index(name)]
    return labels if len(outputs) == 1 else None
