"""The setup of a Distiller before its first step: detects the tasks, completes `compile`."""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from keras_distill._internal import InputError, KerasDistillWarning
from keras_distill._internal import _keras_private as private
from keras_distill._internal._soft_targets import Targets
from keras_distill._internal._types import Outputs
from keras_distill.metrics import Task
from keras_distill.training._data import Given
from keras_distill.training._default_loss import defaults
from keras_distill.training._task import (
    Known,
    certain,
    default_losses,
    fitting_metrics,
    read_tasks,
)
from keras_distill.training._views import Pair

_NO_LABELS = Targets(None, None)


def provisional(pair: Pair) -> Pair:
    """Returns a pair with soft losses chosen by the heads only, before labels are known.

    Raises:
        InputError: If the heads of teacher and student contradict each other.
    """
    outputs = pair.reader.symbolic()
    if pair.soft_terms.default is None or outputs is None:
        return pair
    tasks = read_tasks(Known(pair.reader, pair.source.teacher, pair.soft_terms), outputs)
    chosen = {
        name: task or _likely(len(outputs[name].shape), outputs[name].shape[-1])
        for name, task in tasks.items()
    }
    soft = default_losses(chosen, pair.soft_terms.default)
    return dataclasses.replace(pair, soft_terms=soft)


def _likely(rank: int, units: int | None) -> Task:
    if rank < 2:
        return Task.REGRESSION
    return Task.BINARY if units == 1 else Task.CLASSES


def with_tasks(
    pair: Pair, data: Given, loss: Any, validation: Given | None, *, training: bool
) -> Pair:
    """Returns a pair with its tasks and, if none were given, the soft losses for these tasks.

    Args:
        pair: Teacher, student, and losses.
        data: The data to train or evaluate on.
        loss: The loss passed to `compile`; None if there is none.
        validation: The validation data, whose labels are used if `data` have none.
        training: Whether the student is trained.

    Returns:
        The pair; the same one if nothing changed.

    Raises:
        InputError: If labels, heads, and losses contradict each other, or do not determine the
            task.
    """
    outputs = student_outputs(pair, data)
    by_name = pair.reader.by_name(outputs)
    soft_only = not callable(pair.alpha) and pair.alpha == 1
    known = Known(pair.reader, pair.source.teacher, pair.soft_terms, loss, soft_only=soft_only)
    cheap = loss is None or data.is_cheap
    targets = labels_of(data, validation, values=cheap)
    tasks = read_tasks(known._replace(targets=targets), by_name)
    if None in tasks.values() and not cheap:
        targets = labels_of(data, validation, values=True)
        tasks = read_tasks(known._replace(targets=targets), by_name)
    default = pair.soft_terms.default
    if training and (default is not None or (loss is None and targets.labels is not None)):
        found = certain(tasks, by_name)
    else:
        found = {name: task for name, task in tasks.items() if task is not None}
    if found == pair.tasks:
        return pair
    if default is None or len(found) < len(by_name):
        return dataclasses.replace(pair, tasks=found)
    if default.given and set(found.values()) == {Task.REGRESSION}:
        warnings.warn(
            "`temperature` has no effect on a regression: teacher and student are compared by"
            " RegressionLoss, which has none. Leave it out.",
            KerasDistillWarning,
            stacklevel=5,
        )
    return dataclasses.replace(pair, soft_terms=default_losses(found, default), tasks=found)


def student_outputs(pair: Pair, data: Given) -> Any:
    """Returns the student's outputs in its structure; runs a batch if its graph is incomplete."""
    reader = pair.reader
    if reader.symbolic() is not None and not reader.needs_check:
        return reader.structured_outputs(None)
    outputs, _ = reader.call(data.first[0])
    reader.logits(reader.by_name(outputs))  # shows a softmax or sigmoid at the end
    return outputs


def labels_of(data: Given, validation: Given | None, *, values: bool) -> Targets:
    """Returns labels of some rows; those of the validation data if `data` have no labels.

    Args:
        data: The data to train or evaluate on.
        validation: The validation data.
        values: Whether to read a batch. If False, known specs are returned instead.
    """
    found = _NO_LABELS
    for part in (data, validation):
        if part is not None and found.labels is None:
            found = part.some_targets if values else part.known or _NO_LABELS
    return found


def check_agreement(tasks: Mapping[str, Task]) -> None:
    """Rejects the agreement metric if no output is a classification.

    Raises:
        InputError: If there is no classification output.
    """
    if tasks and set(tasks.values()) == {Task.REGRESSION}:
        raise InputError(
            "`agreement` compares predicted classes, and the task is a regression. Leave it out."
        )


def complete_compile(
    model: Any, pair: Pair, outputs: Any, targets: Targets | None
) -> dict[str, Any] | None:
    """Returns the arguments to compile a Distiller with; None if nothing has to change.

    A missing hard loss is chosen by the labels, with the accuracy if no metric was given.
    "accuracy" is replaced where Keras would choose the wrong accuracy metric.

    Args:
        model: The Distiller.
        pair: Its teacher, student, losses, and tasks.
        outputs: The student's outputs as it returns them, or objects with their shapes.
        targets: Labels of some rows; None to keep the hard loss unchanged.
    """
    given = private.compile_arguments(model) if model.compiled else {"optimizer": "adam"}
    arguments = dict(given)
    if targets is not None:
        found = defaults(targets, outputs, pair.reader, pair.tasks)
        arguments["loss"] = found.loss
        if given.get("metrics") is None and given.get("weighted_metrics") is None:
            arguments["metrics"] = found.metrics
    names = list(pair.reader.by_name(outputs))
    heads = {name: pair.reader.head(name) for name in names}
    for key in ("metrics", "weighted_metrics"):
        arguments[key] = fitting_metrics(arguments.get(key), pair.tasks, heads, names)
    if model.compiled and all(_same(arguments.get(k), given.get(k)) for k in arguments):
        return None
    if model.compiled:
        arguments["optimizer"] = model.optimizer  # with its state
    return arguments


def _same(a: Any, b: Any) -> bool:
    a, b = (keras.tree.flatten(part) for part in (a, b))
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))


def values_of(pair: Pair, data: Given) -> Outputs:
    """Returns the student's outputs of the first batch by name."""
    outputs, _ = pair.reader.call(data.first[0])
    return pair.reader.by_name(outputs)
