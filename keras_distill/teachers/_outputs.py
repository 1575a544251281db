"""The normal form of a model's outputs: a dict of tensors by output name.

Inside `teachers`, `training`, and `compress`, outputs always have this form. `outputs_by_name` and
`match_outputs` convert what a model, the data, or the user gives, where it enters; `plain_outputs`
and `like_outputs` convert back for Keras and for the user.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal._soft_targets import TopK

# The name of an output that is the only one of its model and has no key in a dict.
ONLY = ""


def outputs_by_name(outputs: Any, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Returns outputs in the normal form.

    Args:
        outputs: A tensor, a `TopK`, a dict of these, or a list or tuple of them.
        names: The names of a list's items; None or ambiguous names: "output_0", "output_1", …

    Example:
        >>> outputs_by_name([1, 2], ["a", "b"]), outputs_by_name(1)
        ({'a': 1, 'b': 2}, {'': 1})
    """
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if isinstance(outputs, TopK) or not isinstance(outputs, list | tuple):
        return {ONLY: outputs}
    if len(outputs) == 1:
        return {ONLY: outputs[0]}
    if names is None or len(set(names)) != len(outputs):
        names = [f"output_{i}" for i in range(len(outputs))]
    return dict(zip(names, outputs, strict=True))


def plain_outputs(outputs: Mapping[str, Any]) -> Any:
    """Returns the only output itself, or the dict: the form that users see."""
    return outputs[ONLY] if ONLY in outputs else dict(outputs)


def match_outputs(values: Any, names: Iterable[str]) -> dict[str, Any]:
    """Returns labels or weights by output name, without outputs that have no value.

    Args:
        values: A dict by output name, a list in the order of the outputs, one value for all, or
            None.
        names: The outputs' names in order.

    Example:
        >>> match_outputs([3, None], ["a", "b"]), match_outputs({"x": 5}, [ONLY])
        ({'a': 3}, {'': 5})
    """
    names = list(names)
    flat = keras.tree.flatten(values)
    if len(names) == len(flat) == 1:
        found = dict(zip(names, flat, strict=True))
    elif isinstance(values, Mapping):
        found = {name: values.get(name) for name in names}
    elif isinstance(values, list | tuple):
        found = dict(zip(names, values, strict=False))
    else:
        found = dict.fromkeys(names, values)
    return {name: value for name, value in found.items() if value is not None}


def like_outputs(values: Mapping[str, Any], outputs: Any, names: Iterable[str]) -> Any:
    """Returns values in the structure of a model's outputs, which Keras expects.

    Args:
        values: By output name; an output may be missing.
        outputs: What the model returned.
        names: The outputs' names in order.

    Returns:
        The structure, with None where a value is missing; None where all are.
    """
    if all(value is None for value in values.values()):
        return None
    if isinstance(outputs, Mapping):
        return dict(values)
    if isinstance(outputs, list | tuple):
        return [values.get(name) for name in names]
    return values[ONLY]


def to_numpy(outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns tensors by output name as float32 arrays."""
    return {name: np.asarray(tf.cast(value, tf.float32)) for name, value in outputs.items()}
