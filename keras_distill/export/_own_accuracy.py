"""Measures the accuracy of the model itself on the given rows, before a file is compared with it.

A verification is meaningless on rows that are not preprocessed as the model expects: a bad file can
still agree with the model there.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from keras_distill import metrics
from keras_distill._internal import InputError
from keras_distill._internal._types import Array
from keras_distill.export._samples import Samples
from keras_distill.export._sources import Predictor
from keras_distill.metrics import Truth
from keras_distill.records import shown_score


class OwnAccuracy(NamedTuple):
    """The measured accuracy of a model.

    Attributes:
        text: The accuracy (or the other metric) of each labeled output, in one line.
        warnings: Reasons why the rows or the model may be wrong.
    """

    text: str
    warnings: tuple[str, ...]


def measure_own_accuracy(
    source: Predictor,
    samples: Samples,
    outputs: Mapping[str, Array],
    truths: Mapping[str, Truth],
    *,
    what: str,
    layers: bool = True,
) -> OwnAccuracy:
    """Measures a model on labeled rows. If its accuracy is suspicious, also on rescaled rows.

    Args:
        source: The model.
        samples: The rows.
        outputs: The model's outputs on these rows.
        truths: Labels by output, see `truths_by_output`; at least one output.
        what: What the model is, for messages: "the Keras model".
        layers: Whether layers can be added to the model; the error suggests a fix accordingly.

    Raises:
        InputError: If the model is far more accurate on rows scaled to another range.
    """
    scores = {name: truth.score(outputs[name]) for name, truth in truths.items()}
    several = len(outputs) > 1
    shown = ", ".join(
        f"{_shown(truths[name], score)}{f' (output {name})' if several else ''}"
        for name, score in scores.items()
    )
    text = f"{what}: {shown} on {samples.rows} rows ({samples.source})"
    warnings = []
    for name, score in scores.items():
        truth = truths[name]
        constant = truth.constant()
        better = _better_scaling(source, samples, name, truth, constant)
        if better is not None:
            raise InputError(better.message(what, layers=layers, metric=truth.metric))
        if metrics.is_near_chance(score, constant, int((truth.labels >= 0).sum())):
            warnings.append(_near_chance(what, truth, score, constant))
    return OwnAccuracy(text, tuple(warnings))


def _shown(truth: Truth, score: float) -> str:
    return f"{shown_score(truth.metric, score)} {truth.metric}"


def _near_chance(what: str, truth: Truth, score: float, constant: float) -> str:
    text = f"{what} has {_shown(truth, score)} on the given data, no better than"
    check = "check that it is trained, that the data are those it was trained for"
    if truth.of_classes and truth.task is not metrics.Task.MULTI_LABEL:
        always = f"always answering one class ({shown_score(truth.metric, constant)})"
        return f"{text} {always}: {check}, and that their classes have the same order"
    return f"{text} a model that does not look at its input ({constant:g}): {check}"


def _better_scaling(
    source: Predictor, samples: Samples, output: str, truth: Truth, constant: float
) -> metrics.BetterScaling | None:
    if truth.metric == "AUC":  # the output is compared with the unscaled input
        return None
    labeled = np.flatnonzero(truth.labeled)

    def accuracy(x: Mapping[str, Array], rows: Array) -> float:
        return truth.take(labeled[rows]).score(source.predict(x)[output])

    floats = tuple(i.name for i in source.inputs if np.dtype(i.dtype).kind == "f")
    x = {name: a[labeled] for name, a in samples.x.items()}
    return metrics.better_scaling(accuracy, x, constant, floats)
