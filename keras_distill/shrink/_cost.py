"""Counts parameters and multiply-accumulate operations of a selection without building it."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_distill._internal._types import Array
from keras_distill.shrink._analysis import Analysis, entries
from keras_distill.shrink._trace import Slot


class Cost(NamedTuple):
    """The cost of a model, or of one layer.

    Attributes:
        parameters: Entries of all variables.
        macs: Multiply-accumulate operations per example. An unknown size counts as 1.
    """

    parameters: int
    macs: int


class Costs:
    """Counts the cost of any selection of units.

    Args:
        analysis: The analysis of the model.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._slots: defaultdict[int, list[Slot]] = defaultdict(list)
        for slot in analysis.trace.slots.values():
            self._slots[id(slot.variable)].append(slot)
        self._units = {id(slot): analysis.unit[slot.ids] for slot in analysis.trace.slots.values()}

    def total(self, keep: Array) -> Cost:
        """Returns the cost of the whole model.

        Args:
            keep: bool `(units,)`.
        """
        size = self._sizes(keep)
        parameters = sum(size(variable) for variable in self._analysis.model.weights)
        macs = sum(self._macs(keep, size, what) * n for _, what, n in self._analysis.trace.macs)
        return Cost(parameters, macs)

    def by_layer(self, keep: Array, layers: list[Any]) -> list[Cost]:
        """Returns the cost of each layer."""
        size, macs = self._sizes(keep), defaultdict(int)
        for layer, what, n in self._analysis.trace.macs:
            macs[id(layer)] += self._macs(keep, size, what) * n
        inner = {id(layer): _inner(layer) for layer in layers}
        return [
            Cost(
                sum(size(variable) for variable in layer.weights),
                sum(macs[id(part)] for part in inner[id(layer)]),
            )
            for layer in layers
        ]

    def _macs(self, keep: Array, size: Callable[[Any], int], what: Any) -> int:
        if isinstance(what, np.ndarray):  # ids, as of the heads that are multiplied
            return self._analysis.count(keep, what)
        return size(what)

    def _sizes(self, keep: Array) -> Callable[[Any], int]:
        known: dict[int, int] = {}

        def size(variable: Any) -> int:
            if id(variable) not in known:
                kept = entries(variable)
                for slot in self._slots[id(variable)]:
                    count = int(np.count_nonzero(keep[self._units[id(slot)]]))
                    kept = kept // variable.shape[slot.axis] * count
                known[id(variable)] = kept
            return known[id(variable)]

        return size


def _inner(layer: Any) -> list[Any]:
    """Returns a layer, and the layers inside it if it is a wrapper."""
    wrapped = [getattr(layer, key, None) for key in ("layer", "forward_layer", "backward_layer")]
    return [layer, *(part for part in wrapped if isinstance(part, keras.Layer))]
