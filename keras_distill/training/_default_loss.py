"""The hard loss and the metrics: chosen by the task if none is compiled, checked if one is."""

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
    """What `compile` takes, in its structure: one for a single output, else by output.

    Attributes:
        loss: The hard loss; None without labels.
        metrics: The accuracy of each output of classes; None without any.
    """

    loss: Any
    metrics: Any


def default_loss(task: Task, labels: Any, outputs: Any, head: Head) -> keras.losses.Loss:
    """Returns the hard loss of one output.

    - Classes: sparse categorical cross-entropy for class ids, else categorical cross-entropy;
    - two classes in one unit, several labels: binary cross-entropy;
    - a regression: mean squared error.

    Cross-entropies read logits, or probabilities where the student ends in softmax or sigmoid.

    Args:
        task: What the output predicts.
        labels: Anything with the shape of its labels.
        outputs: Anything with the shape of the output.
        head: How the student ends.
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
        outputs: The student's outputs as it returns them, or anything with their shapes.
        reader: Reads the student.
        tasks: What the outputs predict, by name.

    Returns:
        For several outputs lists if labels and outputs are lists, else dicts by name.

    Raises:
        InputError: If the labels of several outputs do not name them.
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
    """Refuses labels of several outputs that are neither a dict nor a list like the outputs."""
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
    """Refuses a cross-entropy that takes logits for probabilities, or probabilities for logits.

    Args:
        loss: What `compile` got: a name, a function, a `Loss`, or a structure of them.
        reader: Reads the student.
        values: The outputs of a batch by name, which show what a graph may not; None: unknown.

    Raises:
        InputError: If there is one.
    """
    names = list(reader.heads) if values is None else list(values)
    for name, part in match_outputs(loss, names).items():
        _check_from_logits(part, reader.head(name), None if values is None else values[name])


def needs_values(loss: Any, reader: ModelReader) -> bool:
    """Returns whether only a batch shows that `check_from_logits` has nothing to refuse."""
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
    """Returns whether outputs are no probabilities of the kind that a loss reads."""
    if look_like_probabilities(values):
        return False
    if "categorical" in loss_name(loss) or loss_name(loss) == "crossentropy":
        return True
    return True if values.min() < 0 or values.max() > 1 else None


def _reads_logits(loss: Any) -> bool | None:
    """Returns whether a loss reads logits; None if it is not a cross-entropy or that is unknown."""
    if not loss_name(loss).endswith("crossentropy"):
        return None
    if isinstance(loss, keras.losses.Loss):
        config: dict[str, Any] = loss.get_config()
        return config.get("from_logits")
    return False


def _name(loss: Any) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
