"""Labels, weights and metrics of the hard term, in the structures Keras's own code takes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from keras_distill.training import terms


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
    labelled: Any = None,
    names: Sequence[str] | None = None,
) -> HardInputs:
    """Prepares labels and weights so that an unlabelled position has weight 0 and stays in B.

    Args:
        labels: A tensor, or a dict, list or tuple of them.
        outputs: The student's outputs: a tensor, or a dict, list or tuple of them.
        sample_weight: A tensor for all outputs, or a structure of them.
        labelled: bool `(B,)`, or None.
        names: Names of a list of outputs.
    """
    if not isinstance(outputs, dict | list | tuple):
        label = _only(labels)
        safe, weights, present = _of_one(label, outputs, _only(sample_weight), labelled)
        return HardInputs(safe if label is labels else labels_like(labels, safe), weights, present)
    keys = list(outputs) if isinstance(outputs, dict) else list(range(len(outputs)))
    safe, weights, present = {}, {}, {}
    for position, key in enumerate(keys):
        label = _pick(labels, key, position, names)
        weight = _pick(sample_weight, key, position, names)
        if label is not None:
            safe[key], weights[key], present[key] = _of_one(label, outputs[key], weight, labelled)
    return HardInputs(
        _put(labels, safe, keys, names),
        _structured(weights, outputs),
        _structured(present, outputs),
    )


def _of_one(labels: Any, outputs: Any, sample_weight: Any, labelled: Any) -> tuple:
    rank = max(len(outputs.shape) - 1, 1)
    mask = terms.labelled_positions(labels, outputs, labelled)
    return (
        terms.without_missing(labels, mask),
        terms.weigh(mask, sample_weight, rank),
        terms.weigh(mask, None, rank),
    )


def _only(value: Any) -> Any:
    """The only value of a structure of one."""
    if isinstance(value, dict | list | tuple):
        flat = keras.tree.flatten(value)
        return flat[0] if len(flat) == 1 else value
    return value


def labels_like(given: Any, safe: Any) -> Any:
    """`safe` in the structure of one that was given."""
    return keras.tree.pack_sequence_as(given, [safe])


def _pick(value: Any, key: Any, position: int, names: Sequence[str] | None) -> Any:
    if isinstance(value, dict):
        return value.get(names[position] if isinstance(key, int) and names else key)
    if isinstance(value, list | tuple):
        return value[position] if position < len(value) else None
    return value


def _put(labels: Any, safe: dict, keys: list, names: Sequence[str] | None) -> Any:
    if isinstance(labels, dict):
        return {
            (names[keys.index(key)] if isinstance(key, int) and names else key): value
            for key, value in safe.items()
        }
    return [safe[key] for key in keys if key in safe]


def _structured(values: dict, outputs: Any) -> Any:
    if all(value is None for value in values.values()):
        return None
    if isinstance(outputs, dict):
        return values
    return [values.get(position) for position in range(len(outputs))]


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
    flat_labels = compiled._flatten_y(inputs.labels)
    flat_outputs = compiled._flatten_y(outputs)
    for group, weights in (
        (compiled._flat_metrics, inputs.present),
        (compiled._flat_weighted_metrics, inputs.weights),
    ):
        flat = compiled._flatten_y(weights)
        for metric, label, output, weight in zip(
            group, flat_labels, flat_outputs, flat, strict=True
        ):
            if metric is not None:
                metric.update_state(label, output, sample_weight=weight)
