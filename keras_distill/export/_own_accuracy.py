"""Measures the model itself on the given rows, before a file of it is compared with it.

A verification on rows that the model does not understand proves nothing: the file may be ruined,
and agree with the model.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from keras_distill import metrics
from keras_distill._internal import InputError
from keras_distill._internal._types import Array
from keras_distill.export import _metric
from keras_distill.export._samples import Samples
from keras_distill.export._sources import Predictor


class OwnAccuracy(NamedTuple):
    """What was measured.

    Attributes:
        text: The accuracy of each labeled output, in one line.
        warnings: Why the rows or the model may be wrong.
    """

    text: str
    warnings: tuple[str, ...]


def measure_own_accuracy(
    source: Predictor,
    samples: Samples,
    outputs: Mapping[str, Array],
    labels: Mapping[str, Array],
    *,
    what: str,
    layers: bool = True,
) -> OwnAccuracy:
    """Measures a model on labeled rows, and on scaled ones where its accuracy is in doubt.

    Args:
        source: The model.
        samples: The rows.
        outputs: Its outputs on them.
        labels: Labels by output, see `labels_by_output`; one output or more.
        what: What the model is, for messages: "the Keras model".
        layers: Whether layers can be added to the model, for the remedy.

    Raises:
        InputError: If the model is far more accurate on rows of another range.
    """
    scores = {name: _metric.score(outputs[name], labels[name]) for name in labels}
    several = len(outputs) > 1
    shown = ", ".join(
        f"{score:.2%} accuracy{f' (output {name})' if several else ''}"
        for name, score in scores.items()
    )
    text = f"{what}: {shown} on {samples.rows} rows ({samples.source})"
    warnings = []
    for name, score in scores.items():
        constant = metrics.constant_accuracy(labels[name])
        better = _better_scaling(source, samples, name, labels[name], constant)
        if better is not None:
            raise InputError(better.message(what, layers=layers))
        if metrics.is_near_chance(score, constant, int((labels[name] >= 0).sum())):
            warnings.append(
                f"{what} has {score:.2%} accuracy on the given data, no better than always"
                f" answering one class ({constant:.2%}): check that it is trained, that the data"
                " are those it was trained for, and that their classes have the same order"
            )
    return OwnAccuracy(text, tuple(warnings))


def _better_scaling(
    source: Predictor, samples: Samples, output: str, labels: Array, constant: float
) -> metrics.BetterScaling | None:
    labeled = np.flatnonzero((labels >= 0).reshape(len(labels), -1).any(axis=1))

    def accuracy(x: Mapping[str, Array], rows: Array) -> float:
        return _metric.score(source.predict(x)[output], labels[labeled[rows]])

    floats = tuple(i.name for i in source.inputs if np.dtype(i.dtype).kind == "f")
    x = {name: a[labeled] for name, a in samples.x.items()}
    return metrics.better_scaling(accuracy, x, constant, floats)
