"""Checks class ids and class weights, before they cause a graph error or a wrong loss.

With a class id outside the range of the outputs, the Keras cross-entropy fails with a long error on
a CPU and returns NaN on a GPU.
"""

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, bad, check_number
from keras_distill._internal._array_likes import is_array_like, to_array
from keras_distill._internal._graph_errors import insist
from keras_distill._internal._types import Outputs
from keras_distill.training import _sample_weights

_SHOWN = 5
_REMEDY = "(if the first class is 1, subtract 1)"


def class_weights(given: Any) -> dict[int, float] | None:
    """Returns class weights by class id.

    Args:
        given: A dict from class ids (integers or text) to weights, a list or array with one weight
            per class, or None.

    Raises:
        InputError: If a key is not a class id, or a weight is negative.

    Example:
        >>> class_weights({"1": 3}), class_weights([1.0, 2.5])
        ({1: 3.0}, {0: 1.0, 1: 2.5})
    """
    if given is None:
        return None
    given = list(given) if isinstance(given, tuple) else given
    rule = "be a dict from class ids to weights, or a list with a weight for each class"
    if isinstance(given, str) or not (isinstance(given, Mapping) or is_array_like(given)):
        remedy = ""
        if given == "balanced":
            remedy = "Compute them: sklearn.utils.class_weight.compute_class_weight."
        raise bad("class_weight", rule, given, remedy)
    if not isinstance(given, Mapping):
        values = to_array("class_weight", given)
        if values.ndim != 1:
            raise bad("class_weight", rule, given)
        given = dict(enumerate(values.tolist()))
    return {
        _class_id(key): check_number(f"class_weight[{key!r:.50}]", value, at_least=0)
        for key, value in given.items()
    }


def _class_id(key: Any) -> int:
    if isinstance(key, Integral) and not isinstance(key, bool):
        return int(key)
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10:
        return int(key)
    raise bad(
        "class_weight",
        "have class ids as keys",
        key,
        "Number the classes as the labels do: 0 is the student's first output.",
    )


def check_no_text(labels: Any) -> None:
    """Rejects labels that are text.

    Args:
        labels: Arrays or specs, in any structure; None if there are no labels.

    Raises:
        InputError: If a label is text.
    """
    for part in keras.tree.flatten(labels):
        if isinstance(part, np.ndarray) and part.dtype.kind in "USO":
            some = ", ".join(repr(str(value)[:40]) for value in part.flat[:_SHOWN])
        elif isinstance(part, tf.TensorSpec | tf.Tensor) and part.dtype == tf.string:
            some = "tensors of text"
        else:
            continue
        raise InputError(
            f"`y` must hold class ids, not text. Received: {some}. Number the classes in the order"
            " of the teacher's outputs; in the order of their names:"
            " names, y = numpy.unique(y, return_inverse=True)."
        )


def reads_ids(loss: Any) -> bool:
    """Returns whether every hard loss reads class ids and ignores no class id.

    Args:
        loss: The loss passed to `compile`.
    """
    parts = [part for part in keras.tree.flatten(loss) if part is not None]
    return bool(parts) and all(map(_is_sparse_crossentropy, parts))


def _is_sparse_crossentropy(loss: Any) -> bool:
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        return loss.get_config().get("ignore_class") is None
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "")
    return name.lower() in ("sparse_categorical_crossentropy", "sparsecategoricalcrossentropy")


def check_ids(labels: Mapping[str, Any], outputs: Outputs) -> None:
    """Rejects class ids that are out of range for their output.

    Args:
        labels: NumPy labels by output name; other types are not checked.
        outputs: Objects with the shapes of the student's outputs, by name.

    Raises:
        InputError: If a class id is out of range.
    """
    for name, ids in labels.items():
        classes = _classes(ids, outputs.get(name))
        if classes is None or not isinstance(ids, np.ndarray) or not ids.size:
            continue
        low, high = ids.min(), ids.max()
        if low < -1 or high >= classes:
            raise InputError(f"{_rule(classes)} {low:g} to {high:g} {_REMEDY}")


def checked_ids(labels: Mapping[str, Any], outputs: Outputs) -> dict[str, Any]:
    """Returns the labels of a batch with an assertion that each class id is in range.

    XLA drops assertions: under XLA, labels are not checked.

    Args:
        labels: Labels of a batch by output name, 0 where there is no label.
        outputs: The student's outputs by name.
    """
    checked = dict(labels)
    for name, ids in labels.items():
        classes = _classes(ids, outputs.get(name))
        if classes is None:
            continue
        numbers = tf.cast(ids, tf.int32) if ids.dtype == tf.bool else ids
        low, high = tf.reduce_min(numbers), tf.reduce_max(numbers)
        known = tf.logical_and(low >= 0, high < tf.cast(classes, numbers.dtype))
        with tf.control_dependencies([insist(known, _rule(classes), low, "to", high, _REMEDY)]):
            checked[name] = tf.identity(ids)
    return checked


def _classes(ids: Any, output: Any) -> int | None:
    """Returns the number of classes if the labels are class ids for this output, else None."""
    if output is None or not _sample_weights.is_sparse(ids, output):
        return None
    return int(output.shape[-1])


def _rule(classes: int) -> str:
    return (
        f"`y` must hold class ids in 0..{classes - 1}, one for each of the {classes}"
        " outputs of the student (-1: unlabeled). Received: ids from"
    )
