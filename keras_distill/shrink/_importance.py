"""Computes the importance of each unit from its weights, its gradients, or its activations."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal._keras_private import GraphCall
from keras_distill._internal._types import Array
from keras_distill.shrink._analysis import Analysis, Label
from keras_distill.shrink._run import call_operation, run_labeled
from keras_distill.shrink._trace import Role, Slot


def importance_of(
    analysis: Analysis,
    kind: str,
    batches: Iterable[tuple[Any, Any]] = (),
    loss: Callable[[Any, Any], Any] | None = None,
) -> Array:
    """Returns the importance of each unit. Only values within the same group are comparable.

    - "l1", "l2": the norm of all kernel entries that produce, move, or read the unit (Li et al.
      2017, arXiv:1608.08710, over a whole group as in Fang et al. 2023, arXiv:2301.12900);
    - "bn": the sum of |gamma| of its batch normalizations (Liu et al. 2017, arXiv:1708.06519);
    - "taylor": (sum of gradient x weight)^2, the first-order change of the loss if the weights were
      0, summed over batches and variables (Molchanov et al. 2019, arXiv:1906.10771);
    - "activation": the mean of |activation|, summed over the layers that read it.

    For a group that has no such value, for example without batch normalization, "l2" is used.

    Args:
        analysis: The analysis of the model.
        kind: One of `IMPORTANCES`.
        batches: (x, y) as the model takes them, for the kinds in `NEED_DATA`.
        loss: `loss(y, outputs)`, a scalar, for "taylor".

    Returns:
        float `(units,)`, >= 0.
    """
    if kind == "taylor":
        assert loss is not None
        score = _taylor(analysis, batches, loss)
    elif kind == "activation":
        score = _activation(analysis, batches)
    else:
        score = _norms(analysis, kind)
    if kind != "l2":
        rest = _norms(analysis, "l2")
        for group in analysis.groups:
            if not score[group.units].any():
                score[group.units] = rest[group.units]
    return score


def _norms(analysis: Analysis, kind: str) -> Array:
    score = np.zeros(analysis.units)
    for slot in analysis.trace.slots.values():
        if _counts(slot, kind):
            values = np.asarray(slot.variable, np.float64)
            score += _per_unit(analysis, slot, np.square(values) if kind == "l2" else abs(values))
    return np.sqrt(score) if kind == "l2" else score


def _counts(slot: Slot, kind: str) -> bool:
    if kind == "bn":
        return isinstance(slot.layer, keras.layers.BatchNormalization) and (
            slot.variable.name == "gamma"
        )
    return len(slot.variable.shape) >= 2  # kernels, not biases and scales


def _per_unit(analysis: Analysis, slot: Slot, values: Array) -> Array:
    """Sums the values of a variable per unit, over all axes except the slot's axis."""
    others = tuple(axis for axis in range(values.ndim) if axis != slot.axis)
    sums = values.sum(axis=others)
    return np.bincount(analysis.unit[slot.ids], weights=sums, minlength=analysis.units)


def _taylor(
    analysis: Analysis, batches: Iterable[tuple[Any, Any]], loss: Callable[[Any, Any], Any]
) -> Array:
    model, score = analysis.model, np.zeros(analysis.units)
    variables = list({id(s.variable): s.variable for s in analysis.trace.slots.values()}.values())
    watched = [v for v in variables if v.dtype.startswith(("float", "bfloat"))]
    for x, y in batches:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            values = [v.value for v in watched]
            tape.watch(values)
            change = loss(y, model(x, training=False))
        found = zip(watched, tape.gradient(change, values), strict=True)
        gradients = {id(v): tf.convert_to_tensor(g) for v, g in found if g is not None}
        for slot in analysis.trace.slots.values():
            gradient = gradients.get(id(slot.variable))
            if gradient is not None:
                product = np.asarray(gradient, np.float64) * np.asarray(slot.variable, np.float64)
                score += np.square(_per_unit(analysis, slot, product))
    return score


def _activation(analysis: Analysis, batches: Iterable[tuple[Any, Any]]) -> Array:
    score = np.zeros(analysis.units)
    reading = {id(s.layer) for s in analysis.trace.slots.values() if s.role is Role.IN}

    def visit(call: GraphCall, values: dict[int, Any], label: Label) -> list[Any]:
        if id(call.operation) in reading:
            for tensor, x in zip(call.inputs, label.inputs, strict=True):
                array = np.abs(np.asarray(values[id(tensor)], np.float64))
                others = tuple(axis for axis in range(array.ndim) if axis != x.axis)
                mean = array.mean(axis=others)
                if len(mean) == len(x.ids):
                    score[:] += np.bincount(
                        analysis.unit[x.ids], weights=mean, minlength=analysis.units
                    )
        return call_operation(call, values)

    for x, _ in batches:
        run_labeled(analysis, [tf.convert_to_tensor(a) for a in keras.tree.flatten(x)], visit)
    return score
