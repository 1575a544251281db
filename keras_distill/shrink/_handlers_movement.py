"""Handlers of operations that rearrange values: Flatten, Reshape, Transpose, Split, Pad, …

To find out where the channels go, the operation is run on an array of ids.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_distill._internal._keras_private import GraphCall
from keras_distill._internal._types import Array
from keras_distill.shrink._handlers_elementwise import names
from keras_distill.shrink._ids import ZERO
from keras_distill.shrink._trace import Channels, Count, Handler, Trace, output

L = keras.layers

_LARGEST = 30_000_000  # ids in one array


def moved(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Runs the operation on ids. The result shows where each channel goes."""
    try:
        arrays = _run(call, inputs)
    except Exception as error:  # an operation may raise anything on unknown sizes
        return trace.unknown(call, inputs, f"it does not run on ids ({type(error).__name__})")
    if arrays is None:
        return trace.unknown(call, inputs, "its tensors are too large")
    return [_settle(trace, call, array, index) for index, array in enumerate(arrays)]


def _run(call: GraphCall, inputs: list[Channels]) -> list[Array] | None:
    values: dict[int, Any] = {}
    for tensor, x in zip(call.inputs, inputs, strict=True):
        shape = [1, *[n or 2 for n in x.shape[1:]]]
        if np.prod(shape) > _LARGEST:
            return None
        along = [1] * len(shape)
        along[x.axis] = -1
        values[id(tensor)] = keras.ops.convert_to_tensor(
            np.broadcast_to(x.ids.reshape(along), shape).astype("int32")
        )
    args, kwargs = call.arguments(values)
    return [np.asarray(r) for r in keras.tree.flatten(call.operation.call(*args, **kwargs))]


def _settle(trace: Trace, call: GraphCall, ids: Array, index: int = 0) -> Channels:
    """Finds the single axis along which the ids vary; if there is none, joins ids by last index."""
    wide = [axis for axis in range(1, ids.ndim) if ids.shape[axis] > 1]
    for axis in reversed(wide):
        rows = np.moveaxis(ids, axis, 0).reshape(ids.shape[axis], -1)
        if (rows == rows[:, :1]).all():
            return output(call, rows[:, 0], axis, index)
    axis = wide[-1] if wide else ids.ndim - 1
    rows = np.moveaxis(ids, axis, 0).reshape(ids.shape[axis], -1)
    trace.join_rows(np.unique(rows, axis=1))
    return output(call, rows[:, 0], axis, index)


def reshaped(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles Reshape: updates the size of the channel axis in the target shape."""
    results = moved(trace, call, inputs)
    layer, y = call.operation, results[0]
    is_layer = isinstance(layer, keras.Layer)
    key, place = ("target_shape", y.axis - 1) if is_layer else ("newshape", y.axis)

    def change(config: dict[str, Any], count: Count) -> None:
        target = list(config[key]) if isinstance(config[key], Sequence) else [config[key]]
        if target[place] not in (-1, None):
            target[place] = count(y.ids)
        config[key] = tuple(target)

    trace.edit(layer, key, change)
    return results


def selected(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles slices and the like. They may only keep all channels, in this or reverse order."""
    results = moved(trace, call, inputs)
    for y in results:
        kept = len(y.ids) == len(inputs[0].ids)
        if not kept or not any((y.ids == ids).all() for ids in _orders(inputs[0].ids)):
            return trace.unknown(call, inputs, "it selects channels by their place")
    return results


def _orders(ids: Array) -> tuple[Array, Array]:
    return ids, ids[::-1]


def repeated(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles Repeat and Tile with the same number of repeats for all channels."""
    times = getattr(call.operation, "repeats", 1)
    if np.size(times) > 1:
        return trace.unknown(call, inputs, "it repeats channels by different numbers")
    return moved(trace, call, inputs)


def split(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles Split. Equal parts along channels stay equal; split positions move with channels."""
    results, x, operation = moved(trace, call, inputs), inputs[0], call.operation
    if operation.axis % len(x.shape) != x.axis:
        return results
    cuts = operation.indices_or_sections
    if isinstance(cuts, int):
        for y in results[1:]:
            trace.join(results[0].ids, y.ids)
        return results
    if any(cut < 0 for cut in cuts):
        return trace.unknown(call, inputs, "it counts channels from the end")

    def change(config: dict[str, Any], count: Count) -> None:
        config["indices_or_sections"] = [count(x.ids[:cut]) for cut in cuts]

    trace.edit(operation, "indices_or_sections", change)
    return results


def padded(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Handles Pad. Zeros added to the channel axis are constants; other axes do not matter."""
    x, operation = inputs[0], call.operation
    widths = np.broadcast_to(np.asarray(operation.pad_width), (len(x.shape), 2))
    before, after = widths[x.axis].tolist()
    arguments = keras.tree.flatten(call.arguments({}))
    value = next((v for v in arguments if isinstance(v, int | float)), 0)
    if before == after == 0:
        return [output(call, x.ids, x.axis)]
    if operation.mode != "constant" or value != 0:
        return trace.unknown(call, inputs, "it pads channels with other values than 0")
    ids = np.concatenate([np.full(before, ZERO), x.ids, np.full(after, ZERO)])
    return [output(call, ids, x.axis)]


LAYERS: dict[type, Handler] = {
    **dict.fromkeys([L.Flatten, L.Permute, L.RepeatVector], moved),
    L.Reshape: reshaped,
}

OPS: dict[str, Handler] = {
    **dict.fromkeys(
        names(
            "Transpose Swapaxes Moveaxis ExpandDims Squeeze Ravel Flip Stack Unstack DepthToSpace"
            " SpaceToDepth"
        ),
        moved,
    ),
    **dict.fromkeys(names("GetItem Take Roll"), selected),
    **dict.fromkeys(names("Repeat Tile"), repeated),
    "Pad": padded,
    "Reshape": reshaped,
    "Split": split,
}
