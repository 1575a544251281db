"""Labels and weights of a batch: by output name for our losses, structured for Keras losses."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, bad, check_number
from keras_distill._internal._graph_errors import insist
from keras_distill._internal._soft_targets import Targets
from keras_distill._internal._types import Array, Outputs, Tensor
from keras_distill.metrics import Task
from keras_distill.teachers import like_outputs, match_outputs
from keras_distill.training import _sample_weights
from keras_distill.training._terms import Batch, Batches, split

NO_TASKS: Mapping[str, Task] = MappingProxyType({})
UNDER_SIGMOID = (Task.BINARY, Task.MULTI_LABEL)
_NOT_BITS = (
    "The labels must be in 0..1 for two classes in one unit and for several labels. Received: other"
    " values. For a regression, use RegressionLoss and compile(loss='mean_squared_error')."
)


class Labeled(NamedTuple):
    """Labels and weights of a batch by output name, for the outputs that have labels.

    Attributes:
        labels: The labels. A position without a label has 0 instead of -1 or NaN.
        weights: Sample weights, 0 where a position has no label; None for no weights.
        present: 1 where a position has a label, otherwise 0; None if every position has a label.
    """

    labels: dict[str, Any]
    weights: dict[str, Any]
    present: dict[str, Any]


class KerasBatch(NamedTuple):
    """A labeled batch in the structures that Keras losses and metrics expect.

    Attributes:
        labels: The labels, in the structure of the data's labels.
        outputs: The outputs as the student returned them.
        weights: The sample weights, in the structure of the outputs.
        present: As in `Labeled`, in the structure of the outputs.
    """

    labels: Any
    outputs: Any
    weights: Any
    present: Any


class Element(NamedTuple):
    """A batch as the data contain it.

    Attributes:
        x: The student's inputs.
        targets: Labels and soft targets.
        sample_weight: A tensor for all outputs, or a structure of them; None for no weights.
    """

    x: Any
    targets: Targets
    sample_weight: Any = None

    @property
    def size(self) -> Tensor:
        """The number of examples."""
        return tf.shape(next(v for v in keras.tree.flatten(self.x) if v is not None))[0]


def unpack(data: Any) -> Element:
    """Returns a batch as Keras passes it to a step."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(sample_weight, Targets):
        sample_weight = sample_weight.labels
    return Element(x, split(y), sample_weight)


def labeled_batch(
    targets: Targets,
    outputs: Outputs,
    sample_weight: Any = None,
    *,
    minus_one: bool = True,
    tasks: Mapping[str, Task] = NO_TASKS,
) -> Labeled | None:
    """Prepares labels and weights: a position without a label has weight 0, but counts in B.

    Args:
        targets: The targets in the data.
        outputs: The student's outputs by name.
        sample_weight: A tensor for all outputs, or a structure of them.
        minus_one: Whether the class id -1 means that there is no label.
        tasks: The task of each output, by name.

    Returns:
        The batch; None if there are no labels.
    """
    if targets.labels is None:
        return None
    weights = match_outputs(sample_weight, outputs)
    batch = Labeled({}, {}, {})
    for name, labels in match_outputs(targets.labels, outputs).items():
        output = outputs[name]
        task = tasks.get(name)
        mask = _sample_weights.has_label(
            labels,
            output,
            targets.labeled,
            minus_one=minus_one,
            two_classes=task is Task.BINARY,
        )
        rank = _sample_weights.positions(output)
        labels = _of_one_rank(_sample_weights.without_missing(labels, mask), output)
        weight = _sample_weights.weigh(mask, weights.get(name), rank)
        batch.labels[name] = _checked(labels, weight) if task in UNDER_SIGMOID else labels
        batch.weights[name] = weight
        batch.present[name] = _sample_weights.weigh(mask, None, rank)
    return batch


def _of_one_rank(labels: Any, output: Any) -> Any:
    """Returns labels for one unit per position with the unit axis added.

    Otherwise Keras would drop the unit axis of the output and then average over positions.
    """
    rank = len(output.shape)
    if rank > 2 and output.shape[-1] == 1 and len(labels.shape) == rank - 1:
        return tf.expand_dims(labels, -1)
    return labels


def _checked(labels: Any, weights: Any) -> Tensor:
    """Returns labels of sigmoid outputs, asserted to be in 0..1 where their weight is not 0."""
    labels = tf.convert_to_tensor(labels)
    if labels.dtype == tf.bool:
        return labels
    good = tf.logical_and(labels >= 0, labels <= 1)
    if weights is not None:
        ignored = tf.equal(_sample_weights.align(weights, len(labels.shape)), 0)
        good = tf.logical_or(good, ignored)
    with tf.control_dependencies([insist(tf.reduce_all(good), _NOT_BITS)]):
        return tf.identity(labels)


def keras_batch(batch: Labeled, labels: Any, outputs: Any, names: list[str]) -> KerasBatch:
    """Returns a labeled batch in the form that Keras expects.

    Args:
        batch: The batch.
        labels: The labels as the data contain them.
        outputs: The outputs as the student returned them.
        names: The names of the outputs, in order.
    """
    values = list(batch.labels.values())
    if isinstance(labels, Mapping) and len(names) > 1:
        given: Any = batch.labels
    elif keras.tree.is_nested(labels) and len(names) == 1:
        given = keras.tree.pack_sequence_as(labels, values)
    else:
        given = values if len(names) > 1 else values[0]
    weights, present = (
        like_outputs(part, outputs, names) for part in (batch.weights, batch.present)
    )
    return KerasBatch(given, outputs, weights, present)


def soft_batches(batch: Labeled | None, sample_weight: Any, outputs: Outputs) -> Batches:
    """Returns the part of a batch that the soft losses use.

    Args:
        batch: The result of `labeled_batch`; None if there are no labels.
        sample_weight: The sample weights as the data contain them.
        outputs: The student's outputs by name.
    """
    batch = batch or Labeled({}, {}, {})
    weights = match_outputs(sample_weight, outputs)
    by_output = {
        name: Batch(batch.labels.get(name), batch.present.get(name), weights.get(name))
        for name in outputs
    }
    if len(by_output) == 1:
        return Batches(by_output, *by_output.values())
    several = keras.tree.is_nested(sample_weight)
    return Batches(by_output, None if several else Batch(sample_weight=sample_weight))


def class_weight_table(class_weight: Mapping[int, float], classes: int) -> Array:
    """Returns the weight of each class `(classes,)`, 1 by default.

    Raises:
        InputError: If a key is not a class, or a weight is negative.

    Example:
        >>> class_weight_table({1: 3.0}, 3).tolist()
        [1.0, 3.0, 1.0]
    """
    table = np.ones(classes, np.float32)
    for key, value in class_weight.items():
        if not 0 <= key < classes:
            raise bad("class_weight", f"have classes in 0..{classes - 1} as keys", key)
        table[key] = check_number(f"class_weight[{key}]", value, at_least=0)
    return table


def weigh_classes(
    class_weight: Mapping[int, float],
    targets: Targets,
    outputs: Outputs,
    sample_weight: Any,
    tasks: Mapping[str, Task] = NO_TASKS,
) -> Tensor:
    """Returns the class weight of each position times its sample weight.

    A position without a label, or with an id that is not a class, has the class weight 1.

    Args:
        class_weight: Weights by class id.
        targets: Labels: class ids or one-hot rows of a single output.
        outputs: The student's outputs by name.
        sample_weight: Weights of the leading axes, or None.
        tasks: The task of each output, by name.

    Raises:
        InputError: If the student has several outputs, or a key is not a class.
    """
    if len(outputs) > 1:
        raise InputError("`class_weight` must be left out for a student with several outputs.")
    (name, output), *_ = outputs.items()
    labels = match_outputs(targets.labels, [name])[name]
    table = class_weight_table(class_weight, max(output.shape[-1] or 0, 2))
    rank = _sample_weights.positions(output)
    binary = tasks.get(name) is Task.BINARY
    mask = _sample_weights.has_label(labels, output, targets.labeled, two_classes=binary)
    safe = _sample_weights.without_missing(labels, mask)
    if _sample_weights.is_sparse(labels, output) or output.shape[-1] == 1:
        ids = _sample_weights.align(tf.cast(tf.round(tf.cast(safe, tf.float32)), tf.int32), rank)
    else:
        ids = tf.argmax(safe, axis=-1, output_type=tf.int32)
    known = tf.logical_and(ids >= 0, ids < len(table))
    values = tf.where(known, tf.gather(table, tf.clip_by_value(ids, 0, len(table) - 1)), 1.0)
    if mask is not None:
        values = tf.where(mask, values, 1.0)
    return _sample_weights.weigh(values, match_outputs(sample_weight, [name]).get(name), rank)


def pack_weights(y: Any, sample_weight: Any) -> Any:
    """Returns sample weights in the structure of a `Targets` y, which Keras requires for arrays.

    Args:
        y: Labels or `Targets`.
        sample_weight: One array, or arrays in the structure of the labels.
    """
    packed = isinstance(sample_weight, Targets)
    if sample_weight is None or packed or not isinstance(y, Targets):
        return sample_weight
    given = keras.tree.flatten(sample_weight)
    labels = sample_weight
    if len(given) != len(keras.tree.flatten(y.labels)):
        labels = keras.tree.map_structure(lambda _: given[0], y.labels)
    teacher = keras.tree.map_structure(lambda _: given[0], y.teacher)
    return Targets(labels, teacher, None if y.labeled is None else given[0])


def pack_validation(data: Any) -> Any:
    """Returns `validation_data` in the form that `fit` takes, with weights from `pack_weights`."""
    if isinstance(data, list | tuple) and len(data) == 3:
        x, y, sample_weight = data
        return x, y, pack_weights(y, sample_weight)
    return data
