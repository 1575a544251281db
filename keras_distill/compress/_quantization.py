"""Runs quantization-aware training during distillation."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._compression_steps import sparse_int8
from keras_distill.compress._fake_quant import FakeQuantModel, FakeQuantSource
from keras_distill.compress._fit import Training, fit, flat_inputs, input_names
from keras_distill.compress._wrapping import start_ranges
from keras_distill.export import export_tflite
from keras_distill.records import ExportRecord

_RANGE_BATCHES = 8  # number of batches from which the input range is measured


class Quantized(NamedTuple):
    """The result of quantization-aware training.

    Attributes:
        model: The fake-quantized model. `quantize_aware(model, data)` continues its training.
        export: Record of the int8 `.tflite` file; None if no path was given.
        logs: Loss, loss terms, and accuracies of every epoch by name, and "seconds".
    """

    model: FakeQuantModel
    export: ExportRecord | None
    logs: dict[str, Any]


def quantize_aware(
    student: keras.Model | FakeQuantModel,
    data: Any,
    path: str | os.PathLike | None = None,
    *,
    preserve: bool = True,
    overwrite: bool = False,
    export: dict[str, Any] | None = None,
    **training: Any,
) -> Quantized:
    """Trains a student with the rounding of its int8 file, and writes this file.

    Weights and activations pass through fake quantization (Jacob et al. 2018, arXiv:1712.05877,
    section 3), whose gradient is the identity within the range. Ranges are initialized from the
    data. A pruned or clustered student keeps its zeros and its distinct values (PQAT, CQAT, PCQAT).
    `export_tflite` converts the file and compares it with the fake-quantized model.

    Args:
        student: A trained functional or Sequential Keras 3 model, or a `FakeQuantModel` to train
            further. It is not changed.
        data: Batches of (x, y), where y are labels or `Targets`; a pair (x, y) of arrays; or a
            function that takes the number of the first epoch and returns batches. With a function,
            a resumed training sees the same data as an uninterrupted one. Its x also calibrates
            the parts that have no fake quantization.
        path: The `.tflite` file to write. If None, no file is written.
        preserve: Whether zeros and clusters are kept. A `FakeQuantModel` keeps its own setting.
        overwrite: Whether existing files may be replaced.
        export: More arguments of `export_tflite`, such as `max_drop` and `data`.
        **training: See `Training` and `TrainingSettings`. Use a learning rate well below the rate
            that the student was trained with.

    Returns:
        The fake-quantized model, the record of the file, and the logs.

    Raises:
        InputError: If a layer cannot be trained in fake quantization, or an argument is not valid.
        VerificationError: If the file differs too much from the fake-quantized model.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="logits")])
        >>> x, y = np.random.rand(64, 8).astype("float32"), np.random.randint(0, 4, 64)
        >>> result = quantize_aware(model, (x, y), alpha=0, epochs=1)
        >>> result.model.scheme, result.model.predict(x).shape
        ('QAT', (64, 4))
    """
    settings = Training.of(**training)
    check_export(export or {})
    model, logs = quantize_logged(student, data, settings, preserve=preserve)
    record = None
    if path is not None:
        record = export_int8(model, path, data, settings, overwrite=overwrite, **(export or {}))
    return Quantized(model, record, logs)


def quantize_logged(
    student: keras.Model | FakeQuantModel, data: Any, training: Training, *, preserve: bool = True
) -> tuple[FakeQuantModel, dict[str, Any]]:
    """Trains in fake quantization. Returns the model and the logs of each epoch."""
    model = _start(student, preserve)
    if not isinstance(student, FakeQuantModel):
        batches = training.batches("data", data).take(_RANGE_BATCHES)
        names = input_names(model.student)
        start_ranges(model.network, [flat_inputs(_x_of(batch), names) for batch in batches])
    objective = training.objective(model.student)
    return model, fit(model.network, objective, model.student, data, training)


def check_export(options: dict[str, Any]) -> None:
    """Rejects options that an int8 file does not support.

    Raises:
        InputError: If `sparse` is set, or another precision is given.
    """
    if options.get("sparse"):
        raise sparse_int8()
    if options.get("quantization", "int8") != "int8":
        raise InputError(
            "Quantization-aware training is for int8."
            f" Received: quantization={options['quantization']!r}"
        )


def export_int8(
    model: FakeQuantModel,
    path: str | os.PathLike,
    rows: Any,
    training: Training,
    *,
    overwrite: bool = False,
    **options: Any,
) -> ExportRecord:
    """Writes the int8 file of a fake-quantized model with `export_tflite`, which verifies it.

    Args:
        model: The model.
        path: The file.
        rows: The training data; its x calibrates the parts that have no fake quantization.
        training: The training, which determines how arrays are batched.
        overwrite: Whether an existing file may be replaced.
        **options: More arguments of `export_tflite`.
    """
    check_export(options)
    calibration = training.batches("data", rows).map(_without_targets)
    options = {"calibration": calibration, **options, "quantization": "int8"}
    return export_tflite(FakeQuantSource(model), Path(path), overwrite=overwrite, **options)


def _start(student: keras.Model | FakeQuantModel, preserve: bool) -> FakeQuantModel:
    if not isinstance(student, FakeQuantModel):
        return FakeQuantModel(student, preserve=preserve)
    model = FakeQuantModel(student.student, preserve=student.preserve)
    for mine, given in zip(model.network.weights, student.network.weights, strict=True):
        mine.assign(given)
    return model


def _x_of(batch: Any) -> Any:
    return batch[0] if isinstance(batch, tuple) else batch


def _without_targets(*batch: Any) -> tuple[Any, tf.Tensor]:
    """Returns x, and zeros as labels, which are not read. This avoids copying soft targets."""
    rows = tf.shape(tf.nest.flatten(batch[0])[0])[0]
    return batch[0], tf.zeros(rows, tf.int64)
