"""Calibrates the probabilities of a file by a temperature that is folded into the last layer.

The logits of a trained network are often too far apart: it predicts with a probability of 99 % but
is right in only 90 % of such cases. Dividing the weights of the layer that computes the logits by T
divides the logits by T; the predicted class does not change. Source: Guo, Pleiss, Sun, Weinberger
2017 (arXiv:1706.04599).
"""

import dataclasses
from typing import Any, NamedTuple

import keras

from keras_distill import metrics, models
from keras_distill._internal import InputError
from keras_distill._internal._keras_private import is_functional, producer
from keras_distill.export import ExportOptions, KerasSource, prepare, resolve
from keras_distill.precision._rows import choose_rows
from keras_distill.records import ProbabilityRecord

_ACTIVATIONS = ("linear", "softmax", "sigmoid")


class Calibrated(NamedTuple):
    """A model with calibrated probabilities, ready to be exported.

    Attributes:
        model: The model with the temperature.
        record: The temperature.
        options: The settings of the export, which is verified against the original model on the
            rows that were not used to fit the temperature.
    """

    model: keras.Model
    record: ProbabilityRecord
    options: ExportOptions


def calibrate(model: Any, options: ExportOptions) -> Calibrated:
    """Fits a temperature on one part of `data`, and folds it into a copy of the model.

    Args:
        model: As for `export_tflite`: a functional or sequential Keras model with one output of
            classes, whose last layer with weights computes the logits.
        options: The settings of the export, with `data`.

    Raises:
        InputError: If the model or the data does not support it.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False)])
        >>> model.set_weights([3 * np.eye(2)])
        >>> classes = np.arange(80) % 2
        >>> x = np.eye(2)[classes]
        >>> y = np.where(np.arange(80) % 8 > 5, 1 - classes, classes)  # right in 3 of 4
        >>> made = calibrate(model, ExportOptions(data=(x, y)))
        >>> round(made.record.temperature, 2)  # 3 / log(34 / 6): 40 rows fit it
        1.73
    """
    source = resolve(model, imports=options.imports)
    if not isinstance(source, KerasSource):
        raise InputError("`calibrate` needs a Keras model: a SavedModel cannot be changed.")
    rows = choose_rows(source, options, what="`calibrate` fits a temperature, so it")
    fitting = prepare(
        source, dataclasses.replace(options, data=rows.choosing, calibration=None), integer=False
    )
    if len(fitting.outputs) != 1 or not fitting.truths:
        raise InputError("`calibrate` needs a model with one output, and labels of its classes.")
    ((name, truth),) = fitting.truths.items()
    if not truth.of_classes:
        raise InputError("`calibrate` needs an output of classes. Received: an output of values.")
    logits = metrics.as_logits(fitting.outputs[name], task=truth.task)
    temperature = metrics.calibration_temperature(
        logits, truth.labels, task=truth.task, from_probabilities=False
    )
    record = ProbabilityRecord(
        temperature=temperature, source=rows.choosing.source, samples=rows.choosing.rows
    )
    calibration = options.calibration if rows.splits is None else rows.splits
    changed = dataclasses.replace(
        options,
        data=rows.judging,
        reference=source,
        probabilities=record,
        calibration=options.calibration or calibration,
        report=None,
    )
    return Calibrated(divided(source.model, temperature), record, changed)


def divided(model: keras.Model, temperature: float) -> keras.Model:
    """Returns a copy of a model whose logits are divided by `temperature`.

    Raises:
        InputError: If its last layer with weights does not compute the logits.
    """
    if not (is_functional(model) or isinstance(model, keras.Sequential)):
        raise InputError("`calibrate` needs a functional or sequential model.")
    copy = keras.models.clone_model(model)
    models.copy_weights(model, copy)
    layer = _logits_layer(copy)
    layer.set_weights([weight / temperature for weight in layer.get_weights()])
    return copy


def _logits_layer(model: keras.Model) -> keras.layers.Layer:
    """Returns the layer that produces the output, or the input of its softmax or sigmoid."""
    layer, _, _ = producer(model.outputs[0])
    while _is_activation(layer) or type(layer) in (keras.layers.Flatten, keras.layers.Reshape):
        layer, _, _ = producer(layer.input)
    kinds = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D)
    fits = isinstance(layer, kinds) and layer.activation.__name__ in _ACTIVATIONS
    if not fits:
        raise InputError(
            "`calibrate` needs a last layer that computes the logits: Dense or Conv, linear or"
            f" under a softmax or sigmoid. Received: {type(layer).__name__} {layer.name!r}"
        )
    return layer


def _is_activation(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Softmax):
        return True
    return isinstance(layer, keras.layers.Activation) and (
        layer.activation.__name__ in ("softmax", "sigmoid")
    )
