"""Compares a narrower model with the one it was made from, tensor by tensor."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import VerificationError
from keras_distill._internal._keras_private import GraphCall, mask_of, set_mask
from keras_distill._internal._types import Array
from keras_distill.models import random_inputs
from keras_distill.shrink._analysis import Analysis, Label
from keras_distill.shrink._depth import Block, run_without
from keras_distill.shrink._rebuild import Rebuilt, rebuild
from keras_distill.shrink._run import call_operation, run_labeled
from keras_distill.shrink._trace import Channels, Role

TOLERANCE = 1e-4
"""The largest difference that counts as rounding, relative to the largest number of a tensor."""

_TOLERANCES = {"float16": 2e-2, "bfloat16": 1e-1}


class Differences(NamedTuple):
    """The largest relative differences that were found.

    Attributes:
        unchanged: Between the outputs of the model and those of its copy with all units; must be 0.
        removed: Between any tensor of the narrower model and the kept channels of the same tensor
            in the full model, in which the weights that read removed units are set to 0.
    """

    unchanged: float
    removed: float


def accept(analysis: Analysis, keep: Array, narrow: Rebuilt, x: Any = None) -> Differences:
    """Checks a narrower model. Raises an error if it is wrong.

    1. A copy with all units must produce exactly the outputs of the model.
    2. In that copy, the weights that read a removed unit are set to 0, so that the unit has no
       effect. The narrower model must then compute the same numbers in every tensor, on its kept
       channels.

    A layer that mixes channels, such as LayerNormalization, would still read the removed channels
    in the full model. The check runs such a layer on the kept channels only, so that it also covers
    the other layers of the model.

    Args:
        analysis: The analysis of the model.
        keep: The kept units, bool `(units,)`.
        narrow: From `rebuild(analysis, keep)`.
        x: Input in the structure of the model. If None, random.

    Raises:
        VerificationError: If an output differs. The message names the first layer that differs.
    """
    model = analysis.model
    x = random_inputs(model) if x is None else x
    flat = [tf.convert_to_tensor(array) for array in keras.tree.flatten(x)]
    full = rebuild(analysis, analysis.all())
    unchanged = _largest(_outputs(model, x), _outputs(full.model, x))
    if unchanged != 0:
        raise VerificationError(
            f"`model` {model.name!r} cannot be copied: a copy with all channels gives other outputs"
            f" (relative difference {unchanged:.1e}). One of its layers does not restore itself"
            " from its config, or is random in inference."
        )
    _silence(analysis, keep, full)
    pairs = _Pairs(analysis, keep, full, narrow)
    results = run_labeled(analysis, [(tensor, tensor) for tensor in flat], pairs.visit)
    outputs = _largest([pair[1] for pair in results], _outputs(narrow.model, x))
    if not outputs <= TOLERANCE and pairs.first is None:
        pairs.first = "its outputs"
    if pairs.first is not None:
        raise VerificationError(
            f"The narrower {model.name!r} computes other numbers from {pairs.first} on (relative"
            f" difference {pairs.largest:.1e}, allowed {TOLERANCE:g}), so it is not returned. Give"
            " this layer in `skip`, and report the layers that the model is made of."
        )
    return Differences(unchanged, pairs.largest)


def accept_shallower(model: keras.Model, blocks: list[Block], shallow: Rebuilt, x: Any) -> None:
    """Checks that a model without some blocks computes what the model does if it skips them.

    Raises:
        VerificationError: If an output differs.
    """
    x = random_inputs(model) if x is None else x
    difference = _largest(run_without(model, x, blocks), _outputs(shallow.model, x))
    if difference != 0:
        raise VerificationError(
            f"`model` {model.name!r} cannot be copied without {len(blocks)} blocks: the copy gives"
            f" other outputs (relative difference {difference:.1e}). One of its layers does not"
            " restore itself from its config, or is random in inference."
        )


def _outputs(model: keras.Model, x: Any) -> list[Any]:
    return keras.tree.flatten(model(x, training=False))


def _silence(analysis: Analysis, keep: Array, full: Rebuilt) -> None:
    """Sets the weights of the full copy that read removed units to 0."""
    for slot in analysis.trace.slots.values():
        if slot.role is Role.IN:
            variable = full.variables[id(slot.variable)]
            shape = [-1 if axis == slot.axis else 1 for axis in range(len(variable.shape))]
            value = np.asarray(variable)
            gate = keep[analysis.unit[slot.ids]].reshape(shape)
            variable.assign(value * gate.astype(value.dtype))


class _Pairs:
    """Runs both models side by side and compares every tensor.

    Attributes:
        largest: The largest relative difference so far.
        first: The first layer whose result differs by more than rounding; None if there is none.
    """

    def __init__(self, analysis: Analysis, keep: Array, full: Rebuilt, narrow: Rebuilt) -> None:
        self._analysis, self._keep, self._full, self._narrow = analysis, keep, full, narrow
        self.largest = 0.0
        self.first: str | None = None

    def visit(
        self, call: GraphCall, values: dict[int, tuple[Any, Any]], label: Label
    ) -> Sequence[tuple[Any, Any]]:
        operation = call.operation
        narrower = self._narrow.of[id(operation)][1]
        thin = call_operation(call, {key: pair[1] for key, pair in values.items()}, narrower)
        if id(operation) in self._analysis.trace.mixing:
            read, made = label.inputs[0], label.outputs[0]
            wide = [self._on_kept(values[id(call.inputs[0])][0], read, made, narrower)]
        else:
            full = self._full.of[id(operation)][1]
            wide = call_operation(call, {key: pair[0] for key, pair in values.items()}, full)
        for a, b, channels in zip(wide, thin, label.outputs, strict=True):
            self._compare(f"layer {operation.name!r} ({type(operation).__name__})", a, b, channels)
        return list(zip(wide, thin, strict=True))

    def _on_kept(self, x: Any, read: Channels, made: Channels, layer: Any) -> Any:
        """Runs a layer on the kept channels only. The other channels of its output are 0."""
        kept = self._analysis.kept(self._keep, read.ids)
        taken = tf.gather(x, kept, axis=read.axis)
        set_mask(taken, mask_of(x))
        y = layer(taken)
        places = np.full(len(made.ids), len(kept))  # of a 0 appended to the kept ones
        places[kept] = np.arange(len(kept))
        padding = [[0, int(axis == made.axis)] for axis in range(len(y.shape))]
        result = tf.gather(tf.pad(y, padding), places, axis=made.axis)
        set_mask(result, mask_of(y))
        return result

    def _compare(self, where: str, full: Any, narrow: Any, channels: Channels) -> None:
        kept = self._analysis.kept(self._keep, channels.ids)
        whole = np.asarray(full)
        if len(channels.ids) == whole.shape[channels.axis]:
            whole = np.take(whole, kept, axis=channels.axis)
        difference = _largest([whole], [narrow])
        self.largest = max(self.largest, difference)
        dtype = keras.backend.standardize_dtype(narrow.dtype)
        if self.first is None and not difference <= _TOLERANCES.get(dtype, TOLERANCE):
            self.first = where


def _largest(expected: list[Any], received: list[Any]) -> float:
    """Returns the largest difference relative to the largest number; infinite if shapes differ."""
    largest = 0.0
    for a, b in zip(expected, received, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape:
            return float("inf")
        if a.dtype.kind not in "fiubV" or a.size == 0:
            continue
        a, b = a.astype(np.float64), b.astype(np.float64)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        scale = np.max(np.abs(a[np.isfinite(a)]), initial=0.0)
        with np.errstate(invalid="ignore"):
            worst = np.max(np.where(same, 0.0, np.abs(a - b)))
        largest = max(largest, float(worst / scale) if scale > 0 else float(worst))
        if np.isnan(worst):
            return float("inf")
    return largest
