"""The hard loss and the metrics: chosen by the task, or checked if they were given to `compile`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_distill._internal import InputError
from keras_distill._internal._soft_targets import Targets
from keras_distill._internal._types import Array, Outputs
from keras_distill.metrics import Task
from keras_distill.teachers import (
    ONLY,
    Head,
    ModelReader,
    look_like_probabilities,
    match_outputs,
)
from keras_distill.training import _sample_weights
from keras_distill.training._task import default_metric, loss_name


class Default(NamedTuple):
    """Default arguments of `compile`: one value for a single output, otherwise one per output.

    Attributes:
        loss: The hard loss; None if there are no labels.
        metrics: The accuracy of each classification output; None if there is no such output.
    """

    loss: Any
    metrics: Any


def default_loss(task: Task, labels: Any, outputs: Any, head: Head) -> keras.losses.Loss:
    """Returns the hard loss of one output.

    - Classes: sparse categorical cross-entropy for class ids, otherwise categorical cross-entropy.
    - Two classes in one unit, or several labels: binary cross-entropy.
    - Regression: mean squared error.

    Cross-entropies read probabilities if the student ends in softmax or sigmoid, otherwise logits.

    Args:
        task: The task of the output.
        labels: An object with the shape of the labels.
        outputs: An object with the shape of the output.
        head: The kind of the student's last layer (logits, softmax, or sigmoid).
    """
    logits = head.kind not in ("softmax", "sigmoid")
    if task is Task.REGRESSION:
        return keras.losses.MeanSquaredError()
    if task is not Task.CLASSES:
        return keras.losses.BinaryCrossentropy(from_logits=logits)
    if _sample_weights.is_sparse(labels, outputs):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    return keras.losses.CategoricalCrossentropy(from_logits=logits)


def defaults(
    targets: Targets, outputs: Any, reader: ModelReader, tasks: Mapping[str, Task]
) -> Default:
    """Returns the hard loss and the metrics for labels.

    Args:
        targets: Labels of some rows.
        outputs: The student's outputs as it returns them, or objects with their shapes.
        reader: Reads the student.
        tasks: The task of each output, by name.

    Returns:
        The loss and the metrics. For several outputs, they are lists if labels and outputs are
        lists, otherwise dicts by output name.

    Raises:
        InputError: If there are several outputs and the labels are not given by output name.
    """
    labels = targets.labels
    if labels is None:
        return Default(None, None)
    by_name = reader.by_name(outputs)
    listed = isinstance(outputs, list | tuple)
    if len(by_name) > 1:
        _check_labels_structure(labels, by_name, listed, reader.names)
    losses: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    for name, label in match_outputs(labels, by_name).items():
        part = tasks[name], label, by_name[name], reader.head(name)
        losses[name], metrics[name] = default_loss(*part), default_metric(*part)
    several = any(metric is not None for metric in metrics.values())
    if ONLY in losses:
        return Default(losses[ONLY], [metrics[ONLY]] if several else None)
    if listed and isinstance(labels, list | tuple):
        listed_metrics = [[] if m is None else [m] for m in metrics.values()]
        return Default(list(losses.values()), listed_metrics if several else None)
    named = {name: metric for name, metric in metrics.items() if metric is not None}
    return Default(losses, named or None)


def _check_labels_structure(
    labels: Any, outputs: Mapping[str, Any], listed: bool, names: list[str] | None
) -> None:
    """Rejects labels of several outputs that are neither a dict nor a list like the outputs."""
    if listed and isinstance(labels, list | tuple) and len(labels) == len(outputs):
        return
    unnamed = listed and names is None
    if isinstance(labels, Mapping) and not unnamed:
        return
    kind = "a list in their order" if unnamed else "a dict by output name"
    raise InputError(
        f"Labels of several outputs ({', '.join(outputs)}) must be {kind}, or compile(loss=...) be"
        f" called first. Received: {type(labels).__name__}."
    )


def check_from_logits(loss: Any, reader: ModelReader, values: Outputs | None = None) -> None:
    """Rejects a cross-entropy whose `from_logits` does not match the student's outputs.

    Args:
        loss: The loss passed to `compile`: a name, a function, a `Loss`, or a structure of these.
        reader: Reads the student.
        values: The outputs of a batch by name, which may show what the graph does not; None if
            unknown.

    Raises:
        InputError: If the loss treats logits as probabilities, or probabilities as logits.
    """
    names = list(reader.heads) if values is None else list(values)
    for name, part in match_outputs(loss, names).items():
        _check_from_logits(part, reader.head(name), None if values is None else values[name])


def needs_values(loss: Any, reader: ModelReader) -> bool:
    """Returns whether `check_from_logits` needs the outputs of a batch to decide."""
    parts = match_outputs(loss, list(reader.heads))
    return any(
        _reads_logits(part) is not None and not reader.head(name).certain
        for name, part in parts.items()
    )


def _check_from_logits(loss: Any, head: Head, values: Any) -> None:
    reads_logits = _reads_logits(loss)
    if reads_logits is None:
        return
    gives_logits = None
    if head.certain or head.kind in ("softmax", "sigmoid"):
        gives_logits = head.kind == "linear"
    elif values is not None:
        gives_logits = _give_logits(loss, np.asarray(values))
    if gives_logits and not reads_logits:
        raise InputError(
            f"`loss` must be made with from_logits=True: the student's last layer {head.layer!r}"
            f" gives logits. Received: loss={_name(loss)!r}, which reads probabilities."
        )
    if gives_logits is False and reads_logits:
        raise InputError(
            f"`loss` must be made with from_logits=False: the student's last layer"
            f" {head.layer!r} gives probabilities. Received: from_logits=True."
        )


def _give_logits(loss: Any, values: Array) -> bool | None:
    """Returns whether the outputs cannot be probabilities of the kind that the loss reads."""
    if look_like_probabilities(values):
        return False
    if "categorical" in loss_name(loss) or loss_name(loss) == "crossentropy":
        return True
    return True if values.min() < 0 or values.max() > 1 else None


def _reads_logits(loss: Any) -> bool | None:
    """Returns whether a loss reads logits; None if unknown, or if it is not a cross-entropy."""
    if not loss_name(loss).endswith("crossentropy"):
        return None
    if isinstance(loss, keras.losses.Loss):
        config: dict[str, Any] = loss.get_config()
        return config.get("from_logits")
    return False


def _name(loss: Any) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
