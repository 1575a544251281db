"""`py:package.module:function`: splits that the user's own code returns."""

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
    "validation", "test", and "class_names". Each split is a pair of arrays (x, y), or each is a
    `tf.data.Dataset` of unbatched `(x, y)` with known cardinality. x is raw and of one shape, y a
    class id. Arrays x alone, or data sets of x, are unlabeled. A missing split is held out of
    train.

    Raises:
        InputError: If the function is not found, raises, or returns something else.
    """
    return splits_from(source, call(source))


def call(source: Source) -> Any:
    """Returns what the function of a `py:` spec returns.

    Raises:
        InputError: If the function is not found, or raises.
    """
    spec = source.spec
    spec.read()
    return _user_code.call(spec.name, spec.text)


def are_splits(value: Any) -> bool:
    """Returns whether a value is of the kind that `splits_from` takes."""
    return isinstance(value, Splits) or (isinstance(value, Mapping) and "train" in value)


def splits_from(source: Source, value: Any) -> Splits:
    """Returns the splits that a function returned.

    Args:
        source: The source, for its spec.
        value: As `load` says.

    Raises:
        InputError: If it is something else.
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
