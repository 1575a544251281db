"""The data passed to `fit` and `evaluate`, and their first batch."""

import functools
import itertools
import types
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, _keras_private, bad
from keras_distill._internal._array_likes import as_arrays
from keras_distill._internal._soft_targets import Targets
from keras_distill._internal._types import Shape
from keras_distill.targets import PeekableDataset
from keras_distill.training._labels import check_no_text
from keras_distill.training._terms import split

_MANY = 10_000  # rows of arrays whose labels are read


class Given:
    """The arguments x and y of `fit`, whose first batch can be read without consuming it.

    Args:
        x: Arrays, a `tf.data.Dataset`, a `PyDataset`, a generator, or an iterable that restarts.
        y: Labels or `Targets`, if x is arrays.
        batch_size: The batch size for arrays; 32 by default.

    Example:
        >>> data = Given(np.arange(6), np.arange(6), batch_size=2)
        >>> data.first[1].tolist()
        [0, 1]
    """

    def __init__(self, x: Any, y: Any = None, batch_size: int | None = None) -> None:
        x = as_arrays("x", x)
        self.x: Any = _Rewound(x) if isinstance(x, types.GeneratorType) else x
        self.y = as_arrays("y", y)
        self._batch_size = batch_size or 32

    @classmethod
    def validation(cls, data: Any) -> "Given":
        """Returns the data of the argument `validation_data`."""
        if not isinstance(data, list | tuple):
            return cls(data)
        return cls(*keras.utils.unpack_x_y_sample_weight(tuple(data))[:2])

    @property
    def for_keras(self) -> Any:
        """The argument x in the form that `keras.Model.fit` takes."""
        return self.x.batches() if isinstance(self.x, _Rewound) else self.x

    @property
    def is_dataset(self) -> bool:
        """Whether x is a `tf.data.Dataset`."""
        return isinstance(self.x, tf.data.Dataset)

    @property
    def is_store(self) -> bool:
        """Whether x is the batches of a store, whose logits were checked when it was built."""
        return isinstance(self.x, PeekableDataset)

    @property
    def is_cheap(self) -> bool:
        """Whether the first batch is cheap: reading it does not fill a shuffle buffer."""
        return "first" in vars(self) or self.is_store or not self.is_dataset

    @property
    def some_targets(self) -> Targets:
        """Labels and soft targets of the first batch, or of more rows if the data are arrays."""
        if not _are_arrays(self.x) or self.y is None:
            return split(self.first[1])
        cut = lambda array: array[:_MANY]  # noqa: E731
        return split(keras.tree.map_structure(cut, self.y, none_is_leaf=False))

    def some_inputs(self, rows: int) -> Any:
        """Returns the inputs of the first batch, or of several batches if it has too few rows.

        Args:
            rows: The required number of rows.
        """
        first, count = self.first[0], _length(self.first[0])
        if count >= rows or isinstance(self.x, _Rewound):
            return first
        batches = -(-rows // max(count, 1))
        if _are_arrays(self.x):
            return keras.tree.map_structure(
                lambda a: None if a is None else tf.convert_to_tensor(a[:rows]),
                self.x,
                none_is_leaf=True,
            )
        if self.is_store:
            return first
        if self.is_dataset:
            more = [unpacked(element)[0] for element in self.x.take(batches)]
        elif isinstance(self.x, keras.utils.PyDataset):
            more = [unpacked(self.x[i])[0] for i in range(min(batches, self.x.num_batches or 1))]
        else:
            more = [unpacked(e)[0] for e in itertools.islice(iter(self.x), batches)]
        try:
            return keras.tree.map_structure(
                lambda *parts: None if parts[0] is None else tf.concat(parts, 0),
                *more,
                none_is_leaf=True,
            )
        except (ValueError, tf.errors.InvalidArgumentError):  # batches of different lengths
            return first

    @property
    def known(self) -> Targets | None:
        """The specs of y, known before a batch is read: objects with shapes; None if unknown."""
        if isinstance(self.x, tf.data.Dataset):
            found = split(keras.utils.unpack_x_y_sample_weight(self.x.element_spec)[1])
            return Targets(*(None if _is_none(part) else part for part in found))
        return split(self.y) if _are_arrays(self.x) else None

    @property
    def arrays_of_labels(self) -> Any:
        """The labels of all labeled rows, if x and y are arrays; None otherwise."""
        targets = split(self.y)
        if not _are_arrays(self.x) or targets.labels is None or targets.labeled is None:
            return targets.labels if _are_arrays(self.x) else None
        rows = np.asarray(targets.labeled, bool)
        keep = lambda part: part[rows] if isinstance(part, np.ndarray) else part  # noqa: E731
        return keras.tree.map_structure(keep, targets.labels)

    @functools.cached_property
    def first(self) -> tuple[Any, Any]:
        """The first batch `(x, y)`.

        Raises:
            InputError: If x is an iterator, because reading would consume it.
        """
        x = self.x
        if isinstance(x, PeekableDataset):
            element = x.peek()
        elif isinstance(x, tf.data.Dataset):
            element = next(iter(x.take(1)))
        elif isinstance(x, keras.utils.PyDataset):
            element = x[0]
        elif _are_arrays(x):
            size = self._batch_size
            cut = lambda array: array[:size]  # noqa: E731
            element = keras.tree.map_structure(cut, (x, self.y), none_is_leaf=False)
        else:
            iterator = iter(x)
            if iterator is x:
                raise bad("x", "be arrays, a data set, a PyDataset or a generator", x)
            element = next(iterator)
        first_x, first_y, _ = keras.utils.unpack_x_y_sample_weight(element)
        as_tensor = lambda value: None if value is None else tf.convert_to_tensor(value)  # noqa: E731
        return keras.tree.map_structure(as_tensor, first_x, none_is_leaf=True), first_y

    def with_position(self, callbacks: Any, arguments: Mapping[str, Any]) -> Any:
        """Returns the callbacks of `fit`, plus one that moves a store's batches to the first epoch.

        Args:
            callbacks: The callbacks passed to `fit`.
            arguments: `initial_epoch` and `steps_per_epoch`, if given.
        """
        if not isinstance(self.x, PeekableDataset):
            return callbacks
        steps, first = arguments.get("steps_per_epoch"), arguments.get("initial_epoch") or 0
        position = _Position(self.x, first, steps)
        if isinstance(callbacks, keras.callbacks.CallbackList):
            listed: Any = callbacks
            listed.append(position)
            return callbacks
        return [*(keras.tree.flatten(callbacks) if callbacks else []), position]

    def check_examples(self, student: list[Shape] | None) -> None:
        """Rejects data for which Keras would fail without a clear message.

        Args:
            student: Shapes of the student's inputs; None if unknown.

        Raises:
            InputError: If a data set is not batched, arrays differ in length, or labels are text.
        """
        if self.x is None:
            raise bad("x", "be given", self.x)
        if (known := self.known) is not None:
            check_no_text(known.labels)
        if isinstance(self.x, tf.data.Dataset):
            _check_batched(self.x, student)
            return
        values = keras.tree.flatten((self.x, self.y))
        arrays = [array for array in values if isinstance(array, np.ndarray | tf.Tensor)]
        lengths = {int(array.shape[0] or 0) for array in arrays if len(array.shape)}
        if len(lengths) > 1:
            raise InputError(f"x and y must have one length. Received: {sorted(lengths)} examples.")


def _check_batched(data: tf.data.Dataset, student: list[Shape] | None) -> None:
    spec = data.element_spec
    inputs = keras.tree.flatten(spec[0] if isinstance(spec, tuple) else spec)
    if len(inputs) == 1 and student is not None and len(student) == 1:
        shape: Any = getattr(inputs[0], "shape", tf.TensorShape(None))  # pyright: ignore[reportArgumentType]
        if shape.is_fully_defined() and tuple(shape) == student[0][1:]:
            raise InputError(
                f"`x` must be batched: its elements have the shape {tuple(shape)} of one"
                " example. Use x.batch(64)."
            )


def _are_arrays(x: Any) -> bool:
    return isinstance(x, np.ndarray | tf.Tensor | Mapping | list | tuple)


class _Position(keras.callbacks.Callback):
    """Skips the epochs of a store's batches that were trained before `BackupAndRestore` resumed.

    Without this callback, a resumed training would repeat the order and the views of the first
    epochs. In the list of callbacks, it must come after `BackupAndRestore`.

    Args:
        batches: The data.
        first_epoch: `initial_epoch` of `fit`.
        steps: `steps_per_epoch` of `fit`; None if an epoch of `fit` is one epoch of the data.
    """

    def __init__(self, batches: PeekableDataset, first_epoch: int, steps: int | None) -> None:
        super().__init__()
        self._batches, self._first_epoch, self._steps = batches, first_epoch, steps

    def on_train_begin(self, logs: Any = None) -> None:
        """Skips the epochs before the restored epoch."""
        model: Any = self.model
        restored = _keras_private.restored_epoch(model)
        trained = 0 if restored is None else restored - self._first_epoch
        if self._steps is not None:
            trained = trained * self._steps // self._batches.batches_per_epoch
        if trained > 0:
            self._batches.skip_epochs(trained)


def unpacked(element: Any) -> tuple[Any, Any, Any]:
    """Returns x, y, and weights of an element."""
    return keras.utils.unpack_x_y_sample_weight(element)


def _length(x: Any) -> int:
    return int(next(part for part in keras.tree.flatten(x) if part is not None).shape[0] or 0)


class _Rewound:
    """A generator whose first batch can be read without consuming it."""

    def __init__(self, generator: types.GeneratorType) -> None:
        self._first = next(generator, None)
        if self._first is None:
            raise InputError("`x` is a generator that gives no batch.")
        self._rest = generator

    def __iter__(self) -> Iterator[Any]:
        return iter([self._first])

    def batches(self) -> Generator[Any, None, None]:
        """Yields all batches, as a generator that Keras accepts."""
        yield self._first
        yield from self._rest


def _is_none(spec: Any) -> bool:
    """Returns whether a spec of a data set is the spec of None."""
    return isinstance(spec, tf.TypeSpec) and spec == tf.type_spec_from_value(None)
