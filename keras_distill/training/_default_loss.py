"""The hard loss: chosen from the labels if none is compiled, checked if one is."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_distill._internal import InputError
from keras_distill._internal._soft_targets import Targets
from keras_distill.losses import MultiLabelSoftLoss, RegressionLoss
from keras_distill.teachers import (
    ONLY,
    Head,
    ModelReader,
    look_like_probabilities,
    match_outputs,
)
from keras_distill.training import _sample_weights
from keras_distill.training._data import Given
from keras_distill.training._terms import SoftTerms, split
from keras_distill.training._views import Pair

_CROSSENTROPIES = (
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "binary_crossentropy",
    "categorical_focal_crossentropy",
    "binary_focal_crossentropy",
)


def default_loss(
    labels: Any, outputs: Any, head: Head, soft: list[Any], labeled: Any = None
) -> keras.losses.Loss:
    """Returns the hard loss that fits one output's labels.

    - class ids, shape of the outputs without the class axis: sparse categorical cross-entropy;
    - rows that are >= 0 and sum to 1: categorical cross-entropy;
    - only 0 and 1 otherwise, or a sigmoid head, or a multi-label soft loss: binary cross-entropy;
    - anything else, or a regression soft loss: mean squared error.

    Cross-entropies read logits, or probabilities where the student ends in softmax or sigmoid.

    Args:
        labels: One batch of labels.
        outputs: Anything with the shape of the student's output.
        head: The head of the student's output.
        soft: The distillation losses of this output.
        labeled: bool `(B,)`: the rows to read; None: all.

    Raises:
        InputError: If no loss fits the labels' shape.
    """
    logits = head.kind not in ("softmax", "sigmoid")
    if any(isinstance(loss, RegressionLoss) for loss in soft):
        return keras.losses.MeanSquaredError()
    if _sample_weights.is_sparse(labels, outputs):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    values = np.asarray(labels)
    if labeled is not None:
        values = values[np.asarray(labeled, bool)]
    same = values.ndim == len(outputs.shape) and values.shape[-1] == outputs.shape[-1]
    column = values.ndim == len(outputs.shape) - 1 and outputs.shape[-1] == 1
    if not (same or column):
        raise InputError(
            f"No loss fits labels of shape {(None, *values.shape[1:])} and outputs of shape"
            f" {tuple(outputs.shape)}. Call compile(loss=...) first."
        )
    if head.kind == "sigmoid" or any(isinstance(loss, MultiLabelSoftLoss) for loss in soft):
        return keras.losses.BinaryCrossentropy(from_logits=logits)
    if same and look_like_probabilities(values, tolerance=1e-3):
        return keras.losses.CategoricalCrossentropy(from_logits=logits)
    if np.isin(values, (0, 1)).all():
        return keras.losses.BinaryCrossentropy(from_logits=logits)
    return keras.losses.MeanSquaredError()


def losses_for(pair: Pair, data: Given, validation: Given | None = None) -> Any:
    """Returns what `default_losses` chooses for the first batch of the data.

    Args:
        pair: The student and the distillation losses.
        data: The training data.
        validation: The validation data, for their labels if the training data have none.

    Raises:
        InputError: As `default_losses`.
    """
    x, y = data.first
    targets = split(y)
    if targets.labels is None and validation is not None:
        targets = split(validation.first[1])
    outputs = pair.reader.structured_outputs(x)
    return default_losses(targets, outputs, pair.reader, pair.soft_terms)


def default_losses(targets: Targets, outputs: Any, reader: ModelReader, soft: SoftTerms) -> Any:
    """Returns the hard loss for a batch of labels, or a structure of them; None without labels.

    Args:
        targets: Labels of one batch.
        outputs: The student's outputs as it returns them, or anything with their shapes.
        reader: Reads the student.
        soft: The distillation losses, which show regression and multi-label tasks.

    Returns:
        A loss; for several outputs a list if labels and outputs are lists, else a dict by name.

    Raises:
        InputError: If no loss fits, or the labels of several outputs do not name them.
    """
    labels = targets.labels
    if labels is None:
        return None
    by_name = reader.by_name(outputs)
    listed = isinstance(outputs, list | tuple)
    if len(by_name) > 1:
        _check_labels_structure(labels, by_name, listed, reader.names)
    found = {
        name: default_loss(
            label, by_name[name], reader.head(name), soft.for_output(name), targets.labeled
        )
        for name, label in match_outputs(labels, by_name).items()
    }
    if ONLY in found:
        return found[ONLY]
    both_listed = listed and isinstance(labels, list | tuple)
    return list(found.values()) if both_listed else found


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


def check_from_logits(loss: Any, reader: ModelReader) -> None:
    """Refuses a cross-entropy that takes logits for probabilities, or probabilities for logits.

    Args:
        loss: What `compile` got: a name, a function, a `Loss`, or a structure of them.
        reader: Reads the student.

    Raises:
        InputError: If there is one.
    """
    if isinstance(loss, Mapping):
        parts = [(part, reader.heads.get(name)) for name, part in loss.items()]
        if list(reader.heads) == [ONLY]:
            parts = [(part, reader.heads[ONLY]) for part in loss.values()]
    elif isinstance(loss, list | tuple):
        same = len(loss) == len(reader.heads)
        parts = list(zip(loss, reader.heads.values(), strict=True)) if same else []
    else:
        parts = [(loss, reader.heads[ONLY])] if ONLY in reader.heads else []
    for part, head in parts:
        _check_from_logits(part, head)


def _check_from_logits(loss: Any, head: Head | None) -> None:
    reads_logits = _reads_logits(loss)
    if reads_logits is None or head is None or not head.certain:
        return
    if head.kind == "linear" and not reads_logits:
        raise InputError(
            f"`loss` must be made with from_logits=True: the student's last layer {head.layer!r}"
            f" gives logits. Received: loss={_name(loss)!r}, which reads probabilities."
        )
    if head.kind != "linear" and reads_logits:
        raise InputError(
            f"`loss` must be made with from_logits=False: the student's last layer"
            f" {head.layer!r} gives probabilities. Received: from_logits=True."
        )


def _reads_logits(loss: Any) -> bool | None:
    """Returns whether a loss reads logits; None if it is not a cross-entropy or that is unknown."""
    if isinstance(loss, str):
        if loss.lower() in ("crossentropy", "ce"):
            return False
        known = keras.losses.get(loss)
        return None if _name(known) not in _CROSSENTROPIES else False
    if isinstance(loss, keras.losses.Loss):
        config: dict[str, Any] = (
            loss.get_config() if type(loss).__module__.startswith("keras.") else {}
        )
        return config.get("from_logits")
    return False if _name(loss) in _CROSSENTROPIES and _builtin(loss) else None


def _builtin(function: Any) -> bool:
    return getattr(function, "__module__", "").startswith("keras.")


def _name(loss: Any) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
