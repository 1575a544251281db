"""Returns batches of the user's data as the model takes them, and the loss for their labels."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._soft_targets import Targets
from keras_distill.export import KerasSource, take
from keras_distill.teachers import ModelReader
from keras_distill.training import Known, SoftTerms, certain, defaults, read_tasks

ROWS, _BATCH = 512, 64


class Batch(NamedTuple):
    """Some examples: x in the structure of the model, and labels (None if there are none)."""

    x: Any
    y: Any


def batches(model: keras.Model, data: Any, rows: int = ROWS) -> list[Batch]:
    """Returns batches of at most `rows` examples, evenly spaced if their number is known.

    Args:
        model: The model.
        data: A data spec (its training split); the `Splits` of `data.load`; a `tf.data.Dataset` of
            x or (x, y), batched or not; an array; a dict of arrays by input; or (x, y).
        rows: Maximum number of examples.

    Raises:
        InputError: If the data does not fit the model.
    """
    inputs = KerasSource(model).inputs
    samples = take("data", data, inputs, rows, split="train")
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    fixed = inputs[0].shape[0]
    size = fixed or _BATCH
    found: list[Batch] = []
    for start in range(0, samples.rows - (fixed or 1) + 1, size):
        part = slice(start, start + size)
        flat = [tf.convert_to_tensor(samples.x[i.name][part].astype(i.dtype)) for i in inputs]
        y = None
        if samples.y is not None:
            y = keras.tree.map_structure(lambda a, part=part: np.asarray(a)[part], samples.y)
        found.append(Batch(keras.tree.pack_sequence_as(structure, flat), y))
    return found


def loss_of(model: keras.Model, batch: Batch) -> Callable[[Any, Any], Any]:
    """Returns `loss(y, outputs)`: the default hard loss for the labels of a batch.

    Raises:
        InputError: If there are no labels, or no loss fits them.
    """
    if batch.y is None:
        raise InputError(
            "`data` must have labels, (x, y), for importance='taylor'. Received: x only."
        )
    reader = ModelReader(model, "model")
    targets, outputs = Targets(batch.y, None), reader.structured_outputs(batch.x)
    by_name = reader.by_name(outputs)
    known = Known(reader, None, SoftTerms([], [], []), targets=targets)
    tasks = certain(read_tasks(known, by_name), by_name)
    losses = keras.tree.flatten(defaults(targets, outputs, reader, tasks).loss)

    def total(y: Any, outputs: Any) -> Any:
        pairs = zip(losses, keras.tree.flatten(y), keras.tree.flatten(outputs), strict=True)
        return tf.add_n([loss(a, b) for loss, a, b in pairs])

    return total
