"""Starts the ranges of fake quantization at those of the data.

tfmot starts every activation at -6..6 and moves it by a thousandth of the way per step, and never
lets the input's range shrink: a short training would never see the real ranges.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

_DECAY = 0.999  # of tfmot's moving average
_PASSES = 40
_MOVED = 0.02  # of the range: less than that in a pass, and it has arrived

_ACTIVATIONS = ("output", "post_activation", "pre_activation", "activation")


def _edges(net: Any, prefixes: tuple[str, ...]) -> list[tuple[Any, Any]]:
    """The (minimum, maximum) variables whose names start so."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for variable in net.weights:
        *scope, name = variable.name.split(":")[0].split("/")
        stem, _, edge = name.rpartition("_")
        if edge in ("min", "max") and stem in prefixes:
            found.setdefault(("/".join(scope), stem), {})[edge] = variable
    return [(pair["min"], pair["max"]) for pair in found.values()]


def start_ranges(net: Any, batches: Iterable[Any]) -> None:
    """Sets the ranges of the input and of all activations from a few batches.

    Every pass runs one batch and moves each activation's range to what it saw; ranges of later
    layers follow those of earlier ones. Those of kernels are set on the way; all other variables
    are put back.

    Args:
        net: The wrapped twin.
        batches: Inputs in the flat structure of the twin; all are seen by the input's range, the
            first one by the activations'.
    """
    batches = list(batches)
    _start_input(net, batches)
    pairs = _edges(net, _ACTIVATIONS)
    kept = [
        (v, v.numpy()) for v in net.variables if not v.name.split(":")[0].endswith(("_min", "_max"))
    ]
    for _ in range(_PASSES):
        before = [(low.numpy(), high.numpy()) for low, high in pairs]
        net(batches[0], training=True)
        moved = 0.0
        for (low, high), (old_low, old_high) in zip(pairs, before, strict=True):
            new_low = min(_seen(old_low, low.numpy()), 0.0)
            new_high = max(_seen(old_high, high.numpy()), 0.0, new_low + 1e-3)
            low.assign(new_low)
            high.assign(new_high)
            change = max(abs(new_low - old_low), abs(new_high - old_high))
            moved = max(moved, change / (new_high - new_low))
        for variable, value in kept:
            variable.assign(value)
        if moved < _MOVED:
            return


def _seen(old: np.ndarray, new: np.ndarray) -> float:
    """What the moving average saw, from where it stood before and after."""
    return float(np.float64(old) + (np.float64(new) - np.float64(old)) / (1 - _DECAY))


def _start_input(net: Any, batches: list[Any]) -> None:
    columns = list(zip(*(tf.nest.flatten(batch) for batch in batches), strict=True))
    layers = [layer for layer in net.layers if type(layer).__name__ == "QuantizeLayer"]
    for layer in layers:
        position = [tensor.name for tensor in tf.nest.flatten(net.inputs)].index(layer.input.name)
        low = min(float(tf.reduce_min(values)) for values in columns[position])
        high = max(float(tf.reduce_max(values)) for values in columns[position])
        for minimum, maximum in _edges(layer, ("quantize_layer",)):
            minimum.assign(min(low, 0.0))
            maximum.assign(max(high, 0.0))
