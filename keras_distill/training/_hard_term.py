"""Labels, weights and metrics of the hard term, in the structures that Keras's own code takes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_distill._internal._elements import Targets
from keras_distill.teachers._base import named
from keras_distill.training import _terms, _weights


class HardInputs(NamedTuple):
    """What a Keras loss or metric takes for one batch.

    Attributes:
        labels: Without -1 or garbage where a position has no label; structured as given.
        weights: Sample weights, 0 where a position has no label; structured as the outputs.
        present: 1 where a position has a label, else 0; structured as the outputs.
    """

    labels: Any
    weights: Any
    present: Any


def hard_inputs(
    labels: Any,
    outputs: Any,
    sample_weight: Any = None,
    labeled: Any = None,
    names: Sequence[str] | None = None,
    *,
    minus_one: bool = True,
) -> HardInputs:
    """Prepares labels and weights so that a position without a label weighs 0 and stays in B.

    Args:
        labels: A tensor, or a dict, list or tuple of them.
        outputs: The student's outputs: a tensor, or a dict, list or tuple of them.
        sample_weight: A tensor for all outputs, or a structure of them.
        labeled: bool `(B,)`, or None.
        names: Names of a list of outputs.
        minus_one: Whether the class id -1 says that there is no label.
    """
    if not isinstance(outputs, dict | list | tuple):
        safe, *rest = _of_one(_only(labels), outputs, _only(sample_weight), labeled, minus_one)
        nested = isinstance(labels, dict | list | tuple)
        return HardInputs(keras.tree.pack_sequence_as(labels, [safe]) if nested else safe, *rest)
    keys = list(outputs) if isinstance(outputs, dict) else list(range(len(outputs)))
    parts = {}
    for position, key in enumerate(keys):
        name = names[position] if isinstance(key, int) and names else key
        label = _pick(labels, name, position)
        if label is not None:
            weight = _pick(sample_weight, name, position)
            parts[key] = (name, *_of_one(label, outputs[key], weight, labeled, minus_one))
    if isinstance(labels, dict):
        safe = {name: value for name, value, *_ in parts.values()}
    else:
        safe = [value for _, value, *_ in parts.values()]
    columns = [{key: part[i] for key, part in parts.items()} for i in (2, 3)]
    return HardInputs(safe, *(_like_outputs(column, outputs) for column in columns))


def ignores_minus_one(losses: Any) -> bool:
    """Whether the hard losses leave out the class id -1 themselves, and so its share of the mean.

    Args:
        losses: What `compile` was given.
    """
    sparse = [
        loss
        for loss in keras.tree.flatten(losses)
        if isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    ]
    return bool(sparse) and all(loss.get_config()["ignore_class"] == -1 for loss in sparse)


def _of_one(labels: Any, outputs: Any, sample_weight: Any, labeled: Any, minus_one: bool) -> tuple:
    mask = _weights.has_label(labels, outputs, labeled, minus_one=minus_one)
    rank = _weights.positions(outputs)
    return (
        _weights.without_missing(labels, mask),
        _weights.weigh(mask, sample_weight, rank),
        _weights.weigh(mask, None, rank),
    )


def _only(value: Any) -> Any:
    """The only value of a structure of one."""
    if isinstance(value, dict | list | tuple):
        flat = keras.tree.flatten(value)
        return flat[0] if len(flat) == 1 else value
    return value


def _pick(value: Any, name: Any, position: int) -> Any:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, list | tuple):
        return value[position] if position < len(value) else None
    return value


def _like_outputs(values: dict, outputs: Any) -> Any:
    if all(value is None for value in values.values()):
        return None
    if isinstance(outputs, dict):
        return values
    return [values.get(position) for position in range(len(outputs))]


def soft_batch(inputs: HardInputs | None, sample_weight: Any, names: Any) -> _terms.Batch:
    """What the soft losses see of the same batch: by output name.

    Args:
        inputs: From `hard_inputs`; None without labels.
        sample_weight: As the data carry it.
        names: Names of a list of outputs.
    """
    sample_weight = named(sample_weight, names)
    if inputs is None:
        return _terms.Batch(sample_weight=sample_weight)
    return _terms.Batch(named(inputs.labels, names), named(inputs.present, names), sample_weight)


def pack_weights(y: Any, sample_weight: Any) -> Any:
    """Sample weights in the structure of a `Targets` y, as Keras wants them beside arrays.

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
    """`validation_data` as `fit` takes it, its sample weights packed as by `pack_weights`."""
    if isinstance(data, list | tuple) and len(data) == 3:
        x, y, sample_weight = data
        return x, y, pack_weights(y, sample_weight)
    return data


def unpack(data: Any) -> tuple[Any, Targets, Any]:
    """x, targets and sample weights of a batch as Keras hands it to a step."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(sample_weight, Targets):
        sample_weight = sample_weight.labels
    return x, _terms.split(y), sample_weight


def update_metrics(compiled: Any, outputs: Any, inputs: HardInputs) -> None:
    """Updates compiled metrics; positions without a label count 0 in the unweighted ones too.

    Keras hands weights to `weighted_metrics` only, so its container is walked here where a batch
    has positions without a label.

    Args:
        compiled: Keras's container of the metrics given to `compile`.
        outputs: The student's outputs.
        inputs: The batch's labels and weights.
    """
    if inputs.present is None:
        compiled.update_state(inputs.labels, outputs, inputs.weights)
        return
    if not compiled.built:
        compiled.build(inputs.labels, outputs)
    labels, outputs = compiled._flatten_y(inputs.labels), compiled._flatten_y(outputs)
    groups = (
        (compiled._flat_metrics, inputs.present),
        (compiled._flat_weighted_metrics, inputs.weights),
    )
    for group, group_weights in groups:
        flat = compiled._flatten_y(group_weights)
        for metric, label, output, weight in zip(group, labels, outputs, flat, strict=True):
            if metric is not None:
                metric.update_state(label, output, sample_weight=weight)


def update_agreement(metric: Any, teacher: _terms.View, student: _terms.View) -> None:
    """Updates the agreement metric with every output; one logit is two classes, 0 and itself."""
    for name in _terms.names_in(student.logits):
        sides = [_terms.of_output(view.logits, name) for view in (teacher, student)]
        if sides[1].shape[-1] == 1:
            sides = [tf.concat([tf.zeros_like(side), side], axis=-1) for side in sides]
        metric.update_state(*sides, mask=_terms.of_output(student.mask, name))
