"""Traverses a model and finds its groups of channels."""

import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_distill._internal import InputError
from keras_distill._internal._keras_private import GraphCall
from keras_distill._internal._types import Array
from keras_distill.models import follow, has_graph, walk_layers
from keras_distill.shrink._handlers import handler_of
from keras_distill.shrink._trace import Channels, Note, Role, Slot, Trace, fixed_channels


@dataclass(frozen=True)
class Group:
    """Units that occur in exactly the same slots and can therefore be ranked against each other.

    Attributes:
        units: The units.
        slots: Their slots.
        channels: The number of channels of one unit along one axis.
        atomic: Whether any number of units may be kept, as for attention heads.
        exact: Whether removing a unit that no layer reads leaves all other values unchanged. False
            behind a normalization over channels.
    """

    units: Array
    slots: tuple[Slot, ...]
    channels: int
    atomic: bool
    exact: bool

    @property
    def layers(self) -> list[str]:
        """The names of the layers that produce these channels, in order."""
        makers = [slot.layer.name for slot in self.slots if slot.role is Role.OUT]
        return list(dict.fromkeys(makers or [slot.layer.name for slot in self.slots]))


class Label(NamedTuple):
    """The channels of the inputs and outputs of one call."""

    inputs: list[Channels]
    outputs: list[Channels]


@dataclass(frozen=True)
class Analysis:
    """What is known about the channels of a model.

    Attributes:
        model: The model; it is not changed.
        trace: What the handlers recorded.
        unit: The unit of each id.
        units: The number of units.
        groups: The groups of units that may be removed.
        entered: The ids of the nested models that were traversed.
        nested_inputs: The channels of the inputs of each nested model, by its id.
        labels: The channels of the inputs and outputs of each call, in the order of `run_labeled`.
        outputs: The units of the model's outputs, which are always kept.
    """

    model: keras.Model
    trace: Trace
    unit: Array
    units: int
    groups: tuple[Group, ...]
    entered: frozenset[int]
    nested_inputs: dict[int, list[Channels]]
    labels: list[Label]
    outputs: Array

    def all(self) -> Array:
        """Returns the selection that keeps all units: bool `(units,)`."""
        return np.ones(self.units, bool)

    def kept(self, keep: Array, ids: Array) -> Array:
        """Returns the positions in `ids` that are kept.

        Args:
            keep: bool `(units,)`.
            ids: Ids.
        """
        return np.flatnonzero(keep[self.unit[np.asarray(ids)]])

    def count(self, keep: Array, ids: Array) -> int:
        """Returns how many of these ids are kept."""
        return int(np.count_nonzero(keep[self.unit[np.asarray(ids)]]))

    @property
    def notes(self) -> list[Note]:
        """The layers that are not supported and fix channels that could otherwise be removed."""
        return [note for note in self.trace.notes if self._matters(note)]

    def _matters(self, note: Note) -> bool:
        units = self.unit[note.ids]
        return bool((np.isin(units, self._in_slots) & ~np.isin(units, self.outputs)).any())

    @property
    def _in_slots(self) -> Array:
        slots = self.trace.slots.values()
        made = [self.unit[slot.ids] for slot in slots if slot.role is Role.OUT]
        return np.unique(np.concatenate(made)) if made else np.empty(0, int)


def analyze(model: keras.Model, skip: Collection[str] = ()) -> Analysis:
    """Finds which channels of a model can be removed, and which only together with others.

    Args:
        model: A Functional or built Sequential model.
        skip: Names or paths of layers whose channels are kept.

    Raises:
        InputError: If the model has no graph, or `skip` contains a name that no layer has.
    """
    check_model(model)
    walk = _Walk()
    inputs = [fixed_channels(walk.trace, tensor.shape) for tensor in model.inputs]
    results = walk.run(model, inputs)
    for x in results:
        walk.trace.fix(x.ids)
    _skip(model, walk.trace, skip)
    unit, fixed = walk.trace.channel_ids.units()
    return Analysis(
        model=model,
        trace=walk.trace,
        unit=unit,
        units=len(fixed),
        groups=tuple(_groups(walk.trace, unit, fixed)),
        entered=frozenset(walk.nested_inputs),
        nested_inputs=walk.nested_inputs,
        labels=walk.labels,
        outputs=unit[np.concatenate([x.ids for x in results])],
    )


def check_model(model: Any) -> None:
    """Checks that a model has a known graph.

    Raises:
        InputError: If it has none. The message says what to do.
    """
    if not isinstance(model, keras.Model):
        raise InputError(f"`model` must be a Keras model. Received: {type(model).__name__}.")
    if isinstance(model, keras.Sequential) and not has_graph(model):
        raise InputError(
            f"`model` {model.name!r} has no known input shape. Start it with keras.Input(shape)."
        )
    if not has_graph(model):
        raise InputError(
            f"`model` {model.name!r} is a subclassed model ({type(model).__name__}) without a graph"
            " of layers. Rebuild it as a functional model: keras.Model(inputs, outputs)."
        )


class _Walk:
    """Follows the graph of a model and its nested models, and calls the handler of each call."""

    def __init__(self) -> None:
        self.trace = Trace()
        self.nested_inputs: dict[int, list[Channels]] = {}
        self.labels: list[Label] = []

    def run(self, model: keras.Model, inputs: list[Channels]) -> list[Channels]:
        return follow(model, inputs, self._visit)

    def _visit(self, call: GraphCall, values: dict[int, Channels]) -> list[Channels]:
        inputs = [values[id(tensor)] for tensor in call.inputs]
        operation = call.operation
        if has_graph(operation):
            known = self.nested_inputs.setdefault(id(operation), inputs)
            for a, b in zip(known, inputs, strict=True):
                self._same_inputs(a, b)
            return self.run(operation, known)
        handler = handler_of(operation)
        if handler is None:
            results = self.trace.unknown(call, inputs, "no handler for this kind of layer")
        else:
            results = handler(self.trace, call, inputs)
        self.labels.append(Label(inputs, results))
        return results

    def _same_inputs(self, a: Channels, b: Channels) -> None:
        """Joins the input channels of all calls of a nested model."""
        if a is b:
            return
        if a.axis == b.axis and len(a.ids) == len(b.ids):
            self.trace.join(a.ids, b.ids)
        else:
            self.trace.fix(a.ids)
            self.trace.fix(b.ids)


def _skip(model: keras.Model, trace: Trace, names: Collection[str]) -> None:
    known = list(walk_layers(model))
    for name in names:
        chosen = {id(layer) for path, layer in known if name in (path, layer.name)}
        if not chosen:
            raise InputError(
                f"`skip` must have names of layers. There is no layer {name!r} in {model.name!r}."
            )
        slots = [slot for slot in trace.slots.values() if id(slot.layer) in chosen]
        made = [slot for slot in slots if slot.role is Role.OUT]
        for slot in made or slots:
            trace.fix(slot.ids)


def _groups(trace: Trace, unit: Array, fixed: Array) -> list[Group]:
    """Collects the units that occur in the same slots."""
    slots = list(trace.slots.values())
    places: defaultdict[int, list[int]] = defaultdict(list)  # unit -> its slots
    channels: defaultdict[int, int] = defaultdict(int)
    for place, slot in enumerate(slots):
        distinct = np.unique(slot.ids)
        found, counts = np.unique(unit[distinct], return_counts=True)
        for u, n in zip(found.tolist(), counts.tolist(), strict=True):
            places[u].append(place)
            channels[u] = max(channels[u], n)
    by_slots: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for u, where in places.items():
        if not fixed[u]:
            by_slots[tuple(where)].append(u)
    atomic, mixed = _units_of(trace.atomic, unit), _units_of(trace.mixed, unit)
    return [
        Group(
            units=np.array(units),
            slots=tuple(slots[place] for place in where),
            channels=channels[units[0]],
            atomic=units[0] in atomic,
            exact=units[0] not in mixed,
        )
        for where, units in by_slots.items()
    ]


def _units_of(ids: list[Array], unit: Array) -> set[int]:
    return set(unit[np.concatenate(ids)].tolist()) if ids else set()


def entries(variable: Any) -> int:
    """Returns the number of entries of a variable."""
    return math.prod(variable.shape)
