"""The hard loss: guessed from the labels where nothing is compiled, checked where it is."""

from typing import Any

import keras
import numpy as np

from keras_distill._internal import InputError
from keras_distill.losses import MultiLabelSoftLoss, RegressionLoss
from keras_distill.teachers import look_like_probabilities
from keras_distill.teachers._heads import Head
from keras_distill.training import _terms, _weights

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
    """The hard loss that fits one output's labels.

    - class ids, shape of the outputs without the class axis: sparse categorical cross-entropy;
    - rows that are >= 0 and sum to 1: categorical cross-entropy;
    - only 0 and 1 otherwise, or a sigmoid head, or a multi-label soft loss: binary cross-entropy;
    - anything else, or a regression soft loss: mean squared error.

    Cross-entropies read logits, or probabilities where the student ends in softmax or sigmoid.

    Args:
        labels: One batch of them.
        outputs: Anything with the shape of the student's output.
        head: The student's head.
        soft: The distillation losses of this output.
        labeled: bool `(B,)`: the rows to look at; None: all.

    Raises:
        InputError: If the labels' shape fits none.
    """
    logits = head.kind not in ("softmax", "sigmoid")
    if any(isinstance(loss, RegressionLoss) for loss in soft):
        return keras.losses.MeanSquaredError()
    if _weights.is_sparse(labels, outputs):
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


def check_from_logits(loss: Any, heads: Any) -> None:
    """Refuses a cross-entropy that reads the student's output for what it is not.

    Args:
        loss: What `compile` got: a name, a function, a `Loss`, or a structure of them.
        heads: The student's head, or a dict by output name.

    Raises:
        InputError: If a cross-entropy on probabilities meets logits, or the other way round.
    """
    if isinstance(loss, dict):
        for name, part in loss.items():
            check_from_logits(part, _terms.of_output(heads, name))
        return
    if isinstance(loss, list | tuple):
        heads = list(heads.values()) if isinstance(heads, dict) else [heads]
        if len(loss) == len(heads):
            for part, head in zip(loss, heads, strict=True):
                check_from_logits(part, head)
        return
    reads_logits = _reads_logits(loss)
    if reads_logits is None or not isinstance(heads, Head):
        return
    if not heads.certain:
        return
    if heads.kind == "linear" and not reads_logits:
        raise InputError(
            f"`loss` must be made with from_logits=True: the student's last layer {heads.layer!r}"
            f" gives logits. Received: loss={_name(loss)!r}, which reads probabilities."
        )
    if heads.kind != "linear" and reads_logits:
        raise InputError(
            f"`loss` must be made with from_logits=False: the student's last layer"
            f" {heads.layer!r} gives probabilities. Received: from_logits=True."
        )


def _reads_logits(loss: Any) -> bool | None:
    """Whether a loss reads logits; None where it is no cross-entropy or that cannot be known."""
    if isinstance(loss, str):
        if loss.lower() in ("crossentropy", "ce"):
            return False
        known = keras.losses.get(loss)
        return None if _name(known) not in _CROSSENTROPIES else False
    if isinstance(loss, keras.losses.Loss):
        config = loss.get_config() if type(loss).__module__.startswith("keras.") else {}
        return config.get("from_logits")
    return False if _name(loss) in _CROSSENTROPIES and _builtin(loss) else None


def _builtin(function: Any) -> bool:
    return getattr(function, "__module__", "").startswith("keras.")


def _name(loss: Any) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
