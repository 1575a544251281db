"""Creates the record of a narrower model."""

from typing import Any

import keras

from keras_distill._internal._types import Array
from keras_distill.models import walk_layers
from keras_distill.records import ShrinkFixed, ShrinkGroup, ShrinkLayer, ShrinkRecord
from keras_distill.shrink._acceptance import Differences
from keras_distill.shrink._analysis import Analysis, analyze
from keras_distill.shrink._cost import Cost, Costs


def make_record(
    model: keras.Model,
    analysis: Analysis,
    keep: Array,
    narrow: keras.Model,
    found: Differences,
    **settings: Any,
) -> ShrinkRecord:
    """Returns the record that compares a model with its narrower version.

    Args:
        model: The model.
        analysis: The analysis of the model, or of the model without the removed blocks.
        keep: The kept units, bool `(units,)`.
        narrow: The narrower model.
        found: The differences that the check found.
        **settings: More fields of the record.
    """
    whole = analysis if analysis.model is model else analyze(model)
    before, after = Costs(whole).total(whole.all()), Costs(analysis).total(keep)
    return ShrinkRecord(
        model=model.name,
        parameters_before=before.parameters,
        parameters_after=after.parameters,
        macs_before=before.macs,
        macs_after=after.macs,
        bytes_before=_bytes(model),
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
        layers=_layers(whole, analysis, keep, narrow),
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
    whole: Analysis, analysis: Analysis, keep: Array, narrow: keras.Model
) -> tuple[ShrinkLayer, ...]:
    """Compares layer by layer. Nothing is left of the layers of removed blocks."""
    before, after = _costs(whole, whole.all()), _costs(analysis, keep)
    news = dict(walk_layers(narrow))
    nothing = Cost(0, 0)
    return tuple(
        ShrinkLayer(
            layer=path,
            kind=type(layer).__name__,
            width_before=_width(layer),
            width_after=_width(news[path]) if path in after else 0,
            parameters_before=cost.parameters,
            parameters_after=after.get(path, (layer, nothing))[1].parameters,
            macs_before=cost.macs,
            macs_after=after.get(path, (layer, nothing))[1].macs,
        )
        for path, (layer, cost) in before.items()
    )


def _costs(analysis: Analysis, keep: Array) -> dict[str, tuple[Any, Cost]]:
    """Returns the layers with weights and their costs, by path."""
    layers = [(path, layer) for path, layer in walk_layers(analysis.model) if layer.weights]
    costs = Costs(analysis).by_layer(keep, [layer for _, layer in layers])
    return {path: (layer, cost) for (path, layer), cost in zip(layers, costs, strict=True)}


def _width(layer: Any) -> int:
    """Returns the number of channels of a layer's first output."""
    shape = keras.tree.flatten(layer.output)[0].shape
    axis = 1 if getattr(layer, "data_format", None) == "channels_first" else -1
    return int(shape[axis] or 1) if len(shape) > 1 else 1


def _bytes(model: keras.Model) -> int:
    return sum(int(variable.numpy().nbytes) for variable in model.weights)
