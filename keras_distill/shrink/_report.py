"""Makes the record of a narrower model."""

from typing import Any

import keras

from keras_distill._internal._types import Array
from keras_distill.models import walk_layers
from keras_distill.records import ShrinkFixed, ShrinkGroup, ShrinkLayer, ShrinkRecord
from keras_distill.shrink._acceptance import Differences
from keras_distill.shrink._analysis import Analysis
from keras_distill.shrink._cost import Costs


def make_record(
    analysis: Analysis, keep: Array, narrow: keras.Model, found: Differences, **settings: Any
) -> ShrinkRecord:
    """Compares a model with its narrower one.

    Args:
        analysis: Of the model.
        keep: The kept units, bool `(units,)`.
        narrow: The narrower model.
        found: What the check found.
        **settings: Further fields of the record.
    """
    costs = Costs(analysis)
    before, after = costs.total(analysis.all()), costs.total(keep)
    return ShrinkRecord(
        model=analysis.model.name,
        parameters_before=before.parameters,
        parameters_after=after.parameters,
        macs_before=before.macs,
        macs_after=after.macs,
        bytes_before=_bytes(analysis.model),
        bytes_after=_bytes(narrow),
        groups=tuple(
            ShrinkGroup(
                layers=tuple(group.layers),
                units=len(group.units),
                kept=int(keep[group.units].sum()),
                exact=group.exact,
            )
            for group in analysis.groups
        ),
        layers=_layers(analysis, keep, narrow, costs),
        fixed=tuple(
            ShrinkFixed(layer=layer, kind=kind, reason=reason)
            for layer, kind, reason in dict.fromkeys(
                (note.layer, note.kind, note.reason) for note in analysis.notes
            )
        ),
        inexact=tuple(dict.fromkeys(layer.name for layer in analysis.trace.mixing.values())),
        unchanged_difference=found.unchanged,
        removed_difference=found.removed,
        **settings,
    )


def _layers(
    analysis: Analysis, keep: Array, narrow: keras.Model, costs: Costs
) -> tuple[ShrinkLayer, ...]:
    olds = [(path, layer) for path, layer in walk_layers(analysis.model) if layer.weights]
    news = dict(walk_layers(narrow))
    layers = [layer for _, layer in olds]
    befores, afters = costs.by_layer(analysis.all(), layers), costs.by_layer(keep, layers)
    return tuple(
        ShrinkLayer(
            layer=path,
            kind=type(layer).__name__,
            width_before=_width(layer),
            width_after=_width(news[path]),
            parameters_before=before.parameters,
            parameters_after=after.parameters,
            macs_before=before.macs,
            macs_after=after.macs,
        )
        for (path, layer), before, after in zip(olds, befores, afters, strict=True)
    )


def _width(layer: Any) -> int:
    """Returns the channels of a layer's first output."""
    shape = keras.tree.flatten(layer.output)[0].shape
    axis = 1 if getattr(layer, "data_format", None) == "channels_first" else -1
    return int(shape[axis] or 1) if len(shape) > 1 else 1


def _bytes(model: keras.Model) -> int:
    return sum(int(variable.numpy().nbytes) for variable in model.weights)
