"""Records which entries of which variable belong to which channel of a model.

Each kind of layer has a handler (`_handlers`). For one call of such a layer, the handler records
these facts with the methods of `Trace`. Four terms are enough to build a narrower model:

- *id*: every channel of every tensor has one. Ids that can only be removed together are joined;
- *slot*: axis a of variable v is indexed by these ids;
- *edit*: this argument of the layer's constructor is the number of these ids that are kept;
- *fixed*: ids that are never removed, because the effect of removing them is not known.
"""

import contextlib
import enum
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_distill._internal._keras_private import GraphCall
from keras_distill._internal._types import Array, Shape
from keras_distill.shrink._ids import ChannelIds


@dataclass(frozen=True)
class Channels:
    """The channels of one tensor: its channel axis, and the id of each channel.

    Attributes:
        shape: The symbolic shape, with the batch.
        axis: The channel axis, >= 0; all other axes are positions.
        ids: int `(channels,)`. Equal ids are copies of one channel, as after Flatten.
    """

    shape: Shape
    axis: int
    ids: Array

    @property
    def positions(self) -> int:
        """The number of positions per example; an unknown size counts as 1."""
        sizes = [n or 1 for axis, n in enumerate(self.shape) if axis not in (0, self.axis)]
        return math.prod(sizes)


class Role(str, enum.Enum):
    """How an axis of a variable relates to its channels.

    - OUT: the entries that produce the channel (a filter);
    - IN: the entries that read the channel. If they are 0, the channel has no effect;
    - ALONG: one entry per channel, such as a bias, a scale, or a depthwise kernel.
    """

    OUT = "out"
    IN = "in"
    ALONG = "along"


@dataclass(frozen=True)
class Slot:
    """One axis of a variable that is indexed by channels.

    Attributes:
        layer: The layer that has the variable.
        variable: The variable.
        axis: The axis, >= 0.
        ids: The id of each entry along the axis.
        role: See `Role`.
    """

    layer: Any
    variable: Any
    axis: int
    ids: Array
    role: Role


@dataclass(frozen=True)
class Note:
    """A layer that is not supported, whose channels are therefore fixed.

    Attributes:
        layer: Its name.
        kind: Its class.
        reason: Why it is not supported.
        ids: The ids that it fixes.
    """

    layer: str
    kind: str
    reason: str
    ids: Array


Count: TypeAlias = Callable[[Array], int]
"""Returns how many of the given ids are kept."""

Edit: TypeAlias = Callable[[dict[str, Any], Count], None]
"""Changes the config of a layer in place."""

Handler: TypeAlias = Callable[["Trace", GraphCall, list[Channels]], list[Channels]]
"""Says what one call of a layer does to channels; returns the channels of each output."""


@dataclass
class Trace:
    """Collects what the handlers record. Handlers call its methods; `_analysis` reads the rest.

    Attributes:
        channel_ids: Ids, and which of them are joined.
        slots: Slots by (id of the variable, axis).
        edits: Edits by id of the layer, each by the key that it sets.
        wrapped: (key of the config, inner layer) by id of a wrapper.
        macs: (layer, variable or ids, positions). The number of multiply-accumulate operations per
            example is the number of entries of the variable, or of kept ids, times the positions.
        rescaled: (variable, ids). Values are multiplied by the square root of the fraction of ids
            that is kept.
        atomic: Ids of units, such as heads, of which any number may be kept.
        mixing: Layers, by id, whose result for one channel depends on all channels.
        mixed: The ids of those channels.
        notes: Layers that are not supported.
    """

    channel_ids: ChannelIds = field(default_factory=ChannelIds)
    slots: dict[tuple[int, int], Slot] = field(default_factory=dict)
    edits: dict[int, dict[str, Edit]] = field(default_factory=dict)
    wrapped: dict[int, list[tuple[str, Any]]] = field(default_factory=dict)
    macs: list[tuple[Any, Any, int]] = field(default_factory=list)
    rescaled: list[tuple[Any, Array]] = field(default_factory=list)
    atomic: list[Array] = field(default_factory=list)
    mixing: dict[int, Any] = field(default_factory=dict)
    mixed: list[Array] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    _own: dict[tuple[int, str], Array] = field(default_factory=dict)
    _times: int = 1

    def new(self, count: int, *, fixed: bool = False) -> Array:
        """Returns new ids."""
        return self.channel_ids.new(count, fixed=fixed)

    def own(self, layer: Any, key: str, count: int) -> Array:
        """Returns the ids of channels that a layer produces, which are the same for all its calls.

        Args:
            layer: The layer.
            key: Distinguishes several sets of channels of one layer.
            count: Number of channels.
        """
        if (id(layer), key) not in self._own:
            self._own[id(layer), key] = self.new(count)
        return self._own[id(layer), key]

    def along(self, x: Channels, axis: int = -1) -> Array:
        """Returns the ids along an axis. If the channels are on another axis, the ids are fixed."""
        axis %= len(x.shape)
        size = x.shape[axis] or 1
        if axis == x.axis and len(x.ids) == size:
            return x.ids
        self.fix(x.ids)
        return self.new(size, fixed=True)

    def fix(self, ids: Array) -> None:
        """Fixes ids: they are never removed."""
        self.channel_ids.fix(ids)

    def join(self, a: Array, b: Array) -> None:
        """Joins the ids at equal positions: they can only be removed together."""
        self.channel_ids.join(a, b)

    def join_rows(self, matrix: Array) -> None:
        """Joins the ids in each row."""
        self.channel_ids.join_rows(matrix)

    def slot(self, layer: Any, variable: Any, axis: int, ids: Array, role: Role) -> None:
        """Declares that an axis of a variable is indexed by these ids.

        If an earlier call of a shared layer has already declared it, the ids of both are joined.

        Args:
            layer: The layer.
            variable: One of its variables; None is ignored (a layer without bias).
            axis: The axis.
            ids: One per entry along the axis.
            role: See `Role`.
        """
        if variable is None:
            return
        axis %= len(variable.shape)
        known = self.slots.get((id(variable), axis))
        if known is not None:
            self.join(known.ids, ids)
            return
        self.slots[id(variable), axis] = Slot(layer, variable, axis, np.asarray(ids), role)

    def edit(self, layer: Any, key: str, change: Edit) -> None:
        """Declares how the config of a layer changes; `key` names the change."""
        self.edits.setdefault(id(layer), {}).setdefault(key, change)

    def setting(self, layer: Any, key: str, ids: Array, per: int = 1) -> None:
        """Declares that `key` of the layer's config is the number of kept ids, divided by `per`."""

        def change(config: dict[str, Any], count: Count) -> None:
            config[key] = count(ids) // per

        self.edit(layer, key, change)

    def wrap(self, wrapper: Any, key: str, inner: Any) -> None:
        """Declares that `config[key]` of a wrapper is the config of the inner layer."""
        pairs = self.wrapped.setdefault(id(wrapper), [])
        if not any(known is inner for _, known in pairs):
            pairs.append((key, inner))

    def count_macs(self, layer: Any, variable: Any, positions: int) -> None:
        """Adds the operations of one call: entries of the variable (or kept ids) x positions."""
        self.macs.append((layer, variable, positions * self._times))

    @contextlib.contextmanager
    def repeated(self, times: int) -> Iterator[None]:
        """Counts the operations inside the `with` block `times` times, as for time steps."""
        self._times, before = self._times * times, self._times
        try:
            yield
        finally:
            self._times = before

    def rescale(self, variable: Any, ids: Array) -> None:
        """Multiplies values by the square root of the fraction of these ids that is kept."""
        if variable is not None and not any(known is variable for known, _ in self.rescaled):
            self.rescaled.append((variable, ids))

    def whole(self, ids: Array) -> None:
        """Declares that these are whole units, such as heads, for which no multiple is required."""
        self.atomic.append(np.ravel(ids))

    def mixes(self, layer: Any, ids: Array) -> None:
        """Declares that the layer's result for one channel depends on all of them, as a mean does.

        Removing a channel then slightly changes the others, even if no layer reads it.
        """
        self.mixing[id(layer)] = layer
        self.mixed.append(np.ravel(ids))

    def unknown(self, call: GraphCall, inputs: Sequence[Channels], reason: str) -> list[Channels]:
        """Fixes all channels of a call that is not supported, and records the reason."""
        ids = np.concatenate([x.ids for x in inputs])
        self.fix(ids)
        self.notes.append(Note(call.operation.name, type(call.operation).__name__, reason, ids))
        return [fixed_channels(self, tensor.shape) for tensor in call.outputs]


def fixed_channels(trace: Trace, shape: Shape) -> Channels:
    """Returns new fixed ids for the last axis of a tensor."""
    shape = tuple(shape)
    count = (shape[-1] or 1) if len(shape) > 1 else 1
    return Channels(shape, max(0, len(shape) - 1), trace.new(count, fixed=True))


def output(call: GraphCall, ids: Array, axis: int = -1, index: int = 0) -> Channels:
    """Returns the channels of an output of a call.

    Args:
        call: The call.
        ids: The id of each channel.
        axis: The channel axis.
        index: The index of the output.
    """
    shape = tuple(call.outputs[index].shape)
    return Channels(shape, axis % len(shape), np.asarray(ids))


def variables_by_name(layer: Any) -> dict[str, Any]:
    """Returns the weights of a layer by their own names, such as "kernel"."""
    return {variable.name: variable for variable in layer.weights}


def bound_arguments(call: GraphCall, inputs: Sequence[Channels]) -> dict[str, Any]:
    """Returns the arguments of a call by name, with channels instead of tensors."""
    values = {id(tensor): x for tensor, x in zip(call.inputs, inputs, strict=True)}
    args, kwargs = call.arguments(values)
    return dict(inspect.signature(call.operation.call).bind(*args, **kwargs).arguments)


def symbolic_like(shape: Shape, dtype: str) -> keras.KerasTensor:
    """Returns a symbolic tensor that is not part of a graph."""
    return keras.KerasTensor(shape, dtype=dtype)
