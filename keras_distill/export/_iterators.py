"""Reads rows from functions and iterators, such as representative data sets of TFLite."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_distill._internal import InputError
from keras_distill._internal._array_likes import to_array
from keras_distill._internal._signatures import InputInfo
from keras_distill._internal._types import Array

_FORMS = (
    "rows or batches: an array, a dict of arrays by input, a list with one array for each input,"
    " or (x, y)"
)


def split_pair(given: Any, inputs: Sequence[InputInfo]) -> tuple[Any, Any]:
    """Splits (x, y). A tuple with one array for each input counts as x."""
    if isinstance(given, tuple) and len(given) in (2, 3):
        several = len(inputs) > 1 and not isinstance(given[0], Mapping | tuple)
        if not several or len(given) != len(inputs):
            return given[0], given[1]
    return given, None


def call(name: str, function: Callable[[], Any]) -> Any:
    """Calls a function of the user and returns its result.

    Args:
        name: The name of the argument, for errors.
        function: Takes no arguments.

    Raises:
        InputError: If the function raises an exception.
    """
    try:
        return function()
    except Exception as error:
        raise InputError(
            f"`{name}` is a function, and calling it without arguments failed:"
            f" {type(error).__name__}: {error}"
        ) from error


def from_iterator(
    name: str, given: Iterator[Any], inputs: Sequence[InputInfo], count: int | None
) -> tuple[dict[str, Array], Any]:
    """Returns the first rows of an iterator by input name, together with their labels.

    Args:
        name: The name of the argument, for errors.
        given: Yields rows or batches, with or without labels; see `_FORMS`. Like TFLite, it may
            also yield pairs of a signature and a dict.
        inputs: The model's inputs.
        count: Maximum number of rows. If None, all.

    Raises:
        InputError: If the iterator raises an exception, yields nothing, or yields another form.
    """
    parts: list[dict[str, Array]] = []
    labels: list[Any] = []
    rows = 0
    while count is None or rows < count:
        try:
            item = next(given)
        except StopIteration:
            break
        except Exception as error:
            raise InputError(
                f"`{name}` failed after {rows} rows: {type(error).__name__}: {error}"
            ) from error
        x, y = _batch(name, item, inputs)
        rows += len(next(iter(x.values())))
        parts.append(x)
        labels.append(y)
    if not parts:
        raise InputError(f"`{name}` has no rows.")
    try:
        arrays = {i.name: np.concatenate([part[i.name] for part in parts])[:count] for i in inputs}
        if labels[0] is None:
            return arrays, None
        return arrays, np.concatenate(labels)[:count]
    except ValueError as error:
        raise InputError(f"`{name}` must yield rows of one shape ({error}).") from error


def _batch(name: str, item: Any, inputs: Sequence[InputInfo]) -> tuple[dict[str, Array], Any]:
    """Returns one item as a batch by input name, and its labels."""
    names = [i.name for i in inputs]
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        item = item[1]
    x, y = split_pair(item, inputs)
    if isinstance(x, list | tuple):
        x = dict(zip(names, x, strict=False)) if len(x) == len(names) else {}
    elif not isinstance(x, Mapping):
        x = {names[0]: x} if len(names) == 1 else {}
    if set(x) != set(names):
        received = sorted(map(str, x)) if x else type(item).__name__
        raise InputError(
            f"`{name}` must yield {_FORMS}, for the inputs {names}. Received: {received}"
        )
    arrays = {key: to_array(name, x[key]) for key in names}
    single = arrays[names[0]].ndim < len(inputs[0].shape)
    if single:
        arrays = {key: a[None] for key, a in arrays.items()}
    if y is None:
        return arrays, None
    return arrays, np.asarray(y)[None] if single else np.asarray(y)
