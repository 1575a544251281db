"""Takes rows for calibration and verification from a spec, a tf.data pipeline, or arrays."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_distill import data as data_sources
from keras_distill._internal import InputError
from keras_distill._internal._array_likes import as_arrays, to_array
from keras_distill._internal._signatures import InputInfo
from keras_distill._internal._soft_targets import Targets
from keras_distill._internal._types import Array, Dataset, PathLike
from keras_distill.export._iterators import call, from_iterator, split_pair

_TEXT = "USO"  # kinds of NumPy dtypes; tf.data returns text as objects


class Samples(NamedTuple):
    """Rows by input name, their labels (if any), their origin, and notes on what was skipped."""

    x: dict[str, Array]
    y: Any
    source: str
    class_names: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.x.values())))

    def renamed(self, inputs: Sequence[InputInfo]) -> "Samples":
        """Returns the rows under the input names of a model with the same order of inputs.

        Raises:
            InputError: If the model has another number of inputs.
        """
        names = [i.name for i in inputs]
        if set(names) == set(self.x):
            return self
        if len(names) != len(self.x):
            raise InputError(f"A model must have the inputs {list(self.x)}. Received: {names}")
        return self._replace(x=dict(zip(names, self.x.values(), strict=True)))


def take(
    name: str,
    given: Any,
    inputs: Sequence[InputInfo],
    count: int | None,
    *,
    split: str,
    data_dir: PathLike | None = None,
) -> Samples:
    """Takes at most `count` rows, evenly spaced if their number is known.

    Args:
        name: The name of the argument, for errors.
        given: A data spec; the `Splits` of `data.load`; a `tf.data.Dataset` of x, (x, y) or
            (x, y, weight), batched or not; an array; a dict of arrays by input; (x, y); an iterator
            over such rows or batches; or a function that returns one of these, also given as a spec
            `py:module:function`. A function that yields lists, with one array for each input, is a
            representative data set of TFLite. From an iterator, the first rows are taken. `Samples`
            are returned unchanged, under the names of the inputs.
        inputs: The model's inputs.
        count: Maximum number of rows. If None, all.
        split: The split of a spec or of `Splits`.
        data_dir: Folder of prepared TFDS data sets, for a spec.

    Raises:
        InputError: If `given` has another form, has no rows, or its rows do not fit the inputs.
    """
    if isinstance(given, Samples):
        return given.renamed(inputs)
    source, class_names, skipped = "data given", (), ()
    spec = given if isinstance(given, str) else None
    if spec is not None:
        source, given = spec, data_sources.load_or_call(spec, data_dir=data_dir, reads=(split,))
    elif callable(given):
        given = call(name, given)
    if isinstance(given, data_sources.Splits):
        source, class_names = f"{spec or given.name}, {split}", given.class_names
        skipped = given.warnings
        given = getattr(given, split)
    if isinstance(given, tf.data.Dataset):
        x, y = _from_dataset(name, given, inputs, count)
    elif isinstance(given, Iterator):
        x, y = from_iterator(name, given, inputs, count)
    else:
        x, y = split_pair(given, inputs)
        x = _named(name, x, inputs)
        picks = _spaced(len(next(iter(x.values()))), count)
        x = {key: a[picks] for key, a in x.items()}
        y = as_arrays(name, y)
        y = None if y is None else tf.nest.map_structure(lambda a: np.asarray(a)[picks], y)
    _check(name, x, inputs)
    return Samples(x, y, source, tuple(class_names), tuple(skipped))


def _spaced(rows: int, count: int | None) -> Array:
    if count is None or rows <= count:
        return np.arange(rows)
    return np.linspace(0, rows - 1, count).round().astype(int)


def _named(name: str, x: Any, inputs: Sequence[InputInfo]) -> dict[str, Any]:
    names = [i.name for i in inputs]
    if isinstance(x, Mapping):
        named = dict(x)
    elif isinstance(x, tuple) or (isinstance(x, list) and len(names) > 1):
        named = dict(zip(names, x, strict=False)) if len(x) == len(names) else {}
    else:
        named = {names[0]: x}
    if set(named) != set(names):
        raise InputError(
            f"`{name}` must hold the model's inputs {names}. Received: {sorted(map(str, named))}"
        )
    arrays = {key: to_array(name, named[key]) for key in names}
    for info in inputs:
        a = arrays[info.name]
        kinds = _TEXT if info.dtype == "string" else "fiub"
        if a.ndim == 0 or a.dtype.kind not in kinds:
            what = "text" if info.dtype == "string" else "numbers"
            raise InputError(
                f"`{name}` must be a data spec, a tf.data.Dataset, or arrays of {what}. Received:"
                f" {type(x).__name__}"
            )
    return arrays


def _from_dataset(
    name: str, dataset: Dataset, inputs: Sequence[InputInfo], count: int | None
) -> tuple[dict[str, Array], Any]:
    spec: Any = dataset.element_spec
    pair = isinstance(spec, tuple) and not isinstance(spec, Targets)
    first = tf.nest.flatten(spec[0] if pair else spec)[0]
    batched = first.shape.rank == len(inputs[0].shape)
    if batched:
        dataset = dataset.unbatch()
    rows = int(dataset.cardinality())
    if count is not None and rows > count:
        dataset = dataset.shard(rows // count, 0)
    x: list[dict[str, Array]] = []
    y: list[Any] = []
    for element in dataset.take(-1 if count is None else count).as_numpy_iterator():
        row, label = split_pair(element, inputs) if pair else (element, None)
        x.append(_row(row, inputs))
        y.append(label.labels if isinstance(label, Targets) else label)
    if not x:
        raise InputError(f"`{name}` has no rows.")
    try:
        arrays = {i.name: np.stack([row[i.name] for row in x]) for i in inputs}
    except (KeyError, ValueError) as error:
        raise InputError(
            f"`{name}` must yield rows of one shape for the inputs"
            f" {[i.name for i in inputs]} ({error})."
        ) from error
    labels = None if y[0] is None else tf.nest.map_structure(lambda *v: np.stack(v), *y)
    return arrays, labels


def _row(row: Any, inputs: Sequence[InputInfo]) -> dict[str, Array]:
    if isinstance(row, Mapping):
        return dict(row)
    if isinstance(row, tuple):
        return {i.name: a for i, a in zip(inputs, row, strict=False)}
    return {inputs[0].name: row}


def _check(name: str, x: Mapping[str, Array], inputs: Sequence[InputInfo]) -> None:
    for info in inputs:
        a = x[info.name]
        if len(a) == 0:
            raise InputError(f"`{name}` has no rows.")
        fits = a.ndim == len(info.shape) and all(
            b is None or b == c for b, c in zip(info.shape[1:], a.shape[1:], strict=True)
        )
        if not fits:
            raise InputError(
                f"`{name}` must have rows of shape {info.shape[1:]} for input {info.name!r}."
                f" Received: rows of shape {a.shape[1:]}"
            )
        if a.dtype.kind == "f" and not np.isfinite(a).all():
            raise InputError(f"`{name}` must be finite. Input {info.name!r} has NaN or infinity.")
        if (a.dtype.kind in _TEXT) != (info.dtype == "string"):
            what = "text" if info.dtype == "string" else "numbers"
            raise InputError(
                f"`{name}` must have {what} for input {info.name!r} ({info.dtype}). Received:"
                f" {a.dtype}"
            )
        if info.dtype != "string" and np.dtype(info.dtype).kind in "iu" and a.dtype.kind == "f":
            raise InputError(
                f"`{name}` must have whole numbers for input {info.name!r} ({info.dtype})."
                f" Received: {a.dtype}"
            )
