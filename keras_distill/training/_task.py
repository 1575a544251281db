"""The task of each output of a student, and the soft losses and metrics that follow from it.

`metrics.settle` decides the task from what a trainer knows: labels, heads, and losses.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_distill._internal import InputError
from keras_distill._internal._soft_targets import Targets
from keras_distill._internal._types import Schedule, Shape
from keras_distill.losses import (
    DistillationLoss,
    MultiLabelSoftLoss,
    RegressionLoss,
    SoftTargetLoss,
)
from keras_distill.metrics import (
    Evidence,
    Task,
    of_activation,
    of_labels,
    of_loss,
    settle,
    yes_or_no,
)
from keras_distill.teachers import Head, ModelReader, Teacher, match_outputs
from keras_distill.training._label_smoothing import SmoothedCrossentropy
from keras_distill.training._sample_weights import is_sparse
from keras_distill.training._terms import Default, SoftTerms

_PROBABILITIES = ("softmax", "sigmoid")
_ANY = frozenset(Task)


class Known(NamedTuple):
    """What is known about a training before its first step.

    Attributes:
        reader: Reads the student.
        teacher: A live teacher, or None.
        soft: The distillation losses.
        hard: The compiled hard loss or a structure of losses; None if there is none.
        targets: Labels of some rows, or their specs; None if there are no labels.
        soft_only: Whether alpha is 1, so that the hard loss does not train the student.
    """

    reader: ModelReader
    teacher: Teacher | None
    soft: SoftTerms
    hard: Any = None
    targets: Targets | None = None
    soft_only: bool = False


def read_tasks(known: Known, outputs: Mapping[str, Any]) -> dict[str, Task | None]:
    """Returns the task of each output by name; None where the task cannot be determined.

    Args:
        known: What is known about the training.
        outputs: Objects with the shapes of the student's outputs, by name.

    Raises:
        InputError: If labels, heads, and losses contradict each other.
    """
    labels = None if known.targets is None else known.targets.labels
    labels = {} if labels is None else match_outputs(labels, outputs)
    hard = match_outputs(known.hard, outputs)
    return {
        name: settle(_evidence(known, name, tuple(output.shape), labels.get(name), hard.get(name)))
        for name, output in outputs.items()
    }


def _evidence(known: Known, name: str, shape: Shape, labels: Any, hard: Any) -> list[Evidence]:
    """Returns the evidence for the task of one output, with the strongest evidence last."""
    head = known.reader.head(name)
    linear = head.kind == "linear"
    loss = None if hard is None else _of_hard(hard, shape, head, labels)
    found = [
        _of_units(shape),
        _of_given_labels(known, labels, shape, judged=hard is None or loss is not None),
        *_of_earlier_training(known, name, shape),
        of_activation(head.kind, shape, f"the student's layer {head.layer!r} ends in {head.kind}"),
        _of_teacher(known.teacher, name, shape),
        loss,
        *(
            []
            if known.soft.default is not None
            else [
                _of_soft(part, shape, any_classes=linear and known.soft_only)
                for part in known.soft.for_output(name)
            ]
        ),
    ]
    return [part for part in found if part is not None]


def _of_units(shape: Shape) -> Evidence | None:
    units = shape[-1] if len(shape) > 1 else 1
    if units == 1:
        one = frozenset([Task.BINARY, Task.REGRESSION])
        return Evidence("the student has one unit", one)
    several = frozenset([Task.CLASSES, Task.MULTI_LABEL, Task.REGRESSION])
    return Evidence(f"the student has {units} units", several)


def _of_given_labels(known: Known, labels: Any, shape: Shape, *, judged: bool) -> Evidence | None:
    """Returns the evidence from labels, or from the shape of their spec.

    It is weak if not `judged`: a hard loss of the user may take any labels.
    """
    if labels is None:
        return None
    labeled = None if known.targets is None else known.targets.labeled
    try:
        if not _has_values(labels):
            return _of_label_spec(labels, shape)
        found = of_labels(labels, shape, labeled)
    except InputError:
        if judged:
            raise
        return None
    return found if found.tasks or judged else Evidence(found.what, _ANY, Task.REGRESSION)


def _has_values(labels: Any) -> bool:
    return not isinstance(labels, keras.KerasTensor) and hasattr(labels, "__array__")


def _of_label_spec(labels: Any, shape: Shape) -> Evidence | None:
    rank, units = len(labels.shape), shape[-1] if len(shape) > 1 else 1
    column = rank == len(shape) and labels.shape[-1] == 1
    if units is not None and units > 1 and (column or rank == len(shape) - 1):
        return Evidence("the labels are class ids", frozenset([Task.CLASSES]), Task.CLASSES)
    return None


def _of_earlier_training(known: Known, name: str, shape: Shape) -> list[Evidence | None]:
    """Returns the evidence from the losses that teacher and student were compiled with before."""
    found = []
    student = {} if known.hard is not None else known.reader.compiled_losses([name])
    teacher = {} if known.teacher is None else known.teacher.compiled_losses
    for losses in (student, teacher):
        part = None if name not in losses else of_loss(loss_name(losses[name]), shape, "")
        found.append(part and Evidence("", _ANY, part.likely))
    return found


def _of_teacher(teacher: Teacher | None, name: str, shape: Shape) -> Evidence | None:
    head = None if teacher is None else (teacher.heads or {}).get(name)
    if teacher is None or head is None:
        return None
    own = (teacher.output_shapes or {}).get(name) or shape
    found = of_activation(head.kind, own, f"the teacher's layer {head.layer!r} ends in {head.kind}")
    if found is None or len(own) != len(shape):
        return found
    # A model for two classes may have one or two units.
    other = {(2, 1): (Task.CLASSES, Task.BINARY), (1, 2): (Task.BINARY, Task.CLASSES)}
    pair = other.get((own[-1] or 0, shape[-1] or 0))
    if pair is not None and found.likely is pair[0]:
        return Evidence(found.what, frozenset([pair[1]]), pair[1])
    return found


def _of_hard(loss: Any, shape: Shape, head: Head, labels: Any) -> Evidence | None:
    name = loss_name(loss)
    found = of_loss(name, shape, f"the hard loss is {name}")
    if found is None or found.likely is None:
        return found
    if labels is not None and is_sparse(labels, keras.KerasTensor(shape)):
        return found._replace(tasks=frozenset([found.likely]))
    if found.likely is not Task.REGRESSION or head.kind != "linear":
        return found
    # On logits, a squared error is not a Brier score, but with one-hot labels it trains classes.
    one = frozenset([Task.REGRESSION]) if len(shape) < 2 or shape[-1] == 1 else None
    return found._replace(tasks=one or frozenset([Task.REGRESSION, Task.CLASSES]))


def _of_soft(loss: Any, shape: Shape, *, any_classes: bool) -> Evidence | None:
    """Returns the evidence from a given distillation loss.

    Args:
        loss: The loss.
        shape: Shape of the output.
        any_classes: Whether a loss with one sigmoid per class may also train a classifier, because
            no other loss trains it.
    """
    what = f"the soft loss is {type(loss).__name__}"
    if isinstance(loss, RegressionLoss):  # on logits it matches the logits
        return Evidence(what, _ANY, Task.REGRESSION)
    if isinstance(loss, MultiLabelSoftLoss):
        task = yes_or_no(shape[-1] if len(shape) > 1 else 1)
        return Evidence(what, frozenset([task, *([Task.CLASSES] if any_classes else [])]), task)
    compares = isinstance(loss, DistillationLoss) and loss.compares_classes
    if compares or isinstance(loss, keras.distillation.LogitsDistillation):
        return Evidence(what, frozenset([Task.CLASSES]), Task.CLASSES)
    return None


def loss_name(loss: Any) -> str:
    """Returns the Keras name of a hard loss, or "" for a custom loss.

    Example:
        >>> loss_name("mse"), loss_name(keras.losses.BinaryCrossentropy(name="own"))
        ('mean_squared_error', 'binary_crossentropy')
    """
    if isinstance(loss, str):
        if loss.lower() in ("crossentropy", "ce"):
            return "crossentropy"
        loss = keras.losses.get(loss)
    if isinstance(loss, SmoothedCrossentropy):
        return "sparse_categorical_crossentropy"
    kind = type(loss) if isinstance(loss, keras.losses.Loss) else loss
    if not getattr(kind, "__module__", "").startswith("keras."):
        return ""
    name = getattr(kind, "__name__", "")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def certain(tasks: Mapping[str, Task | None], outputs: Mapping[str, Any]) -> dict[str, Task]:
    """Returns the tasks; an output with N units and no known task becomes N classes.

    Raises:
        InputError: If the task of an output with one unit is unknown.
    """
    found = {}
    for name, task in tasks.items():
        shape = outputs[name].shape
        one = len(shape) < 2 or shape[-1] == 1
        if task is None and one:
            raise InputError(
                f"The student's output {name!r} has one unit, and nothing shows whether it is the"
                " class 1 of two or a value. Call compile(loss=...), or give distillation_losses:"
                " MultiLabelSoftLoss for two classes, RegressionLoss for values."
            )
        if task is Task.BINARY and len(shape) < 2:
            raise InputError(
                f"A classifier must have an axis of units. Received: the output {name!r} of shape"
                f" {tuple(shape)}. End the student with Dense(1)."
            )
        found[name] = task or Task.CLASSES
    return found


def default_losses(tasks: Mapping[str, Task], default: Default) -> SoftTerms:
    """Returns the soft terms that fit the tasks.

    Args:
        tasks: By output name.
        default: Temperature and weight of the losses.
    """
    temperature = default.temperature
    kinds = list(dict.fromkeys(tasks.values()))
    if len(kinds) == 1:
        losses, outputs = [default_soft_loss(kinds[0], temperature)], [None]
    else:
        losses = [default_soft_loss(task, temperature) for task in tasks.values()]
        outputs = list(tasks)
    return SoftTerms(losses, [default.weight] * len(losses), outputs, default)


def default_soft_loss(task: Task, temperature: Schedule) -> DistillationLoss:
    """Returns the distillation loss of a task.

    Example:
        >>> type(default_soft_loss(Task.MULTI_LABEL, 4.0)).__name__
        'MultiLabelSoftLoss'
    """
    if task is Task.REGRESSION:
        return RegressionLoss()
    return (SoftTargetLoss if task is Task.CLASSES else MultiLabelSoftLoss)(temperature)


def default_metric(task: Task, labels: Any, outputs: Any, head: Head) -> Any:
    """Returns the accuracy of an output as a Keras metric; None for regression values.

    Args:
        task: The task of the output.
        labels: Some labels of the output.
        outputs: An object with the shape of the output.
        head: The kind of the student's last layer (logits, softmax, or sigmoid).
    """
    if task is Task.REGRESSION:
        return None
    if task is Task.CLASSES:
        same = len(labels.shape) == len(outputs.shape) and labels.shape[-1] == outputs.shape[-1]
        if same:
            return keras.metrics.CategoricalAccuracy(name="accuracy")
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    if not np.isin(np.asarray(labels), (-1, 0, 1)).all():
        return None
    return bit_accuracy(head)


def bit_accuracy(head: Head) -> keras.metrics.Metric:
    """Returns the binary accuracy for a sigmoid head; on logits the threshold is 0."""
    threshold = 0.5 if head.kind in _PROBABILITIES else 0.0
    return keras.metrics.BinaryAccuracy(name="accuracy", threshold=threshold)


def fitting_metrics(
    metrics: Any, tasks: Mapping[str, Task], heads: Mapping[str, Head], names: Sequence[str]
) -> Any:
    """Returns metrics given to `compile`, with "accuracy" replaced if Keras would misread it.

    Keras chooses the accuracy by shapes. For one logit it uses the threshold 0.5, and for several
    labels it compares the positions of the largest values.

    Args:
        metrics: The metrics passed to `compile`.
        tasks: The task of each output, by name.
        heads: The kind of the student's last layer, by output name.
        names: The outputs in order.
    """

    def fitting(item: Any, name: str) -> Any:
        if isinstance(item, list | tuple):
            return [fitting(part, name) for part in item]
        wrong = tasks.get(name) in (Task.BINARY, Task.MULTI_LABEL)
        return bit_accuracy(heads[name]) if wrong and item in ("accuracy", "acc") else item

    if metrics is None:
        return None
    if len(names) == 1:
        if isinstance(metrics, Mapping):
            return {key: fitting(item, names[0]) for key, item in metrics.items()}
        return fitting(metrics, names[0])
    if isinstance(metrics, Mapping):
        return {key: fitting(item, key) for key, item in metrics.items()}
    if isinstance(metrics, list | tuple) and len(metrics) == len(names):
        return [fitting(item, name) for item, name in zip(metrics, names, strict=True)]
    return metrics
