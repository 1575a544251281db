"""`py:package.module:function`: splits that a function of the user returns."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_distill._internal import InputError, _user_code
from keras_distill._internal._array_likes import is_array_like
from keras_distill.data._splits import Source, Splits, from_arrays
from keras_distill.data._streams import from_streams

_SPLITS = ("train", "validation", "test")


def load(source: Source) -> Splits:
    """Imports a module, also from the current folder, and calls one of its functions.

    The function takes no arguments and returns a `Splits`, or a dict with "train" and, optionally,
    "validation", "test", and "class_names". Each split is a pair of arrays (x, y), or each split is
    a `tf.data.Dataset` of unbatched `(x, y)` with known cardinality. All x are raw and have the
    same shape. y is a class id; in arrays it may also be a class name. Arrays of x alone, or data
    sets of x alone, are unlabeled. A missing split is held out of train.

    Raises:
        InputError: If the function is not found, raises an exception, or returns something else.
    """
    return splits_from(source, call(source))


def call(source: Source) -> Any:
    """Returns what the function of a `py:` spec returns.

    Raises:
        InputError: If the function is not found, or raises an exception.
    """
    spec = source.spec
    spec.read()
    return _user_code.call(spec.name, spec.text)


def are_splits(value: Any) -> bool:
    """Returns whether a value is a `Splits`, or a dict with "train"."""
    return isinstance(value, Splits) or (isinstance(value, Mapping) and "train" in value)


def splits_from(source: Source, value: Any) -> Splits:
    """Makes the splits from the value that a function returned.

    Args:
        source: The source of the value.
        value: The value; `load` describes its form.

    Raises:
        InputError: If the value has another form, or is not a valid data set.
    """
    name = source.spec.argument.partition(":")[2]
    if isinstance(value, Splits):
        names = value.class_names or None
        value = {split: getattr(value, split) for split in _SPLITS} | {"class_names": names}
    rule = "a dict with 'train', and optionally 'validation', 'test', and 'class_names'"
    if not are_splits(value):
        raise InputError(f"{source.text}: must return {rule}. It returned: {_shown(value)}.")
    unknown = [key for key in value if key not in (*_SPLITS, "class_names")]
    if unknown:
        raise InputError(f"{source.text}: must return {rule}. It has the key {unknown[0]!r}.")
    names = value.get("class_names")
    if names is not None:
        if isinstance(names, str) or not all(isinstance(n, str) for n in names):
            raise InputError(f"{source.text}: class_names must be strings. It returned: {names!r}.")
        names = tuple(names)
    parts = {split: value[split] for split in _SPLITS if split in value}
    if all(isinstance(part, tf.data.Dataset) for part in parts.values()):
        return from_streams(parts, source, name=name, class_names=names)
    for split, part in parts.items():
        if not isinstance(part, tuple | list) and is_array_like(part):
            parts[split] = (part, None)
        elif not isinstance(part, tuple | list) or len(part) != 2:
            raise InputError(
                f"{source.text}: each split must be a pair (x, y) of arrays, an array x, or each a"
                f" tf.data.Dataset. {split} is: {_shown(part)}."
            )
    return from_arrays(parts, source, name=name, class_names=names)


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{type(value).__name__} {text[:80]}…"
