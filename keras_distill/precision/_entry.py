"""Exports one file in a precision that is given or chosen."""

from typing import Any

from keras_distill import export
from keras_distill._internal import InputError
from keras_distill._internal._types import PathLike
from keras_distill.export import ExportOptions
from keras_distill.precision._choose import choose_tflite
from keras_distill.precision._probabilities import calibrate as fit
from keras_distill.records import ExportRecord

AUTO = "auto"
_OF_AUTO = ("max_bytes", "max_latency_ratio", "also", "training", "progress")


def export_tflite(
    model: Any,
    path: PathLike,
    *,
    quantization: str = "float32",
    calibrate: bool = False,
    **options: Any,
) -> ExportRecord:
    """Writes a `.tflite` file and its record (`path` + ".json"), verified on `data`.

    The file takes the same values as the model. If the model contains its preprocessing, these are
    raw values. The conversion and the first run happen in child processes.

    Args:
        model: A Keras model, a `.keras` file, a SavedModel folder, or a Distiller (its student).
        path: The file to write.
        quantization: A precision: "float32"; "float16" (half-precision weights); "dynamic" (int8
            weights in tensors of 1,024 entries or more); "int8" (all integer); "int16x8" (int16
            activations, int8 weights); "weight-only-int8"; "weight-only-int4". If the loops of
            recurrent layers crash the converter, they are unrolled. If this file does not pass
            either, "dynamic" is used, and then "float16"; a warning and the record report it. Or
            "auto": the smallest file that loses at most `max_drop` points on `data`; see
            `precision.choose_tflite`.
        calibrate: Whether to calibrate the probabilities by a temperature that is folded into the
            last layer; see `precision.calibrate`. The temperature is fitted on one part of `data`.
        **options: Fields of `export.ExportOptions` (`calibration`, `batch_size`, `max_drop`,
            `data`, `overwrite`, …). With "auto", also arguments of `precision.choose_tflite`
            (`max_bytes`, `max_latency_ratio`, `also`, `training`, `progress`).

    Returns:
        The record.

    Raises:
        InputError: If an argument is not valid, the model does not support the precision, or the
            model is far more accurate on `data` scaled to another range, such as x / 255.
        VerificationError: If the file differs too much from the model, or no file passes. Nothing
            is written, unless `keep_failed` is set. The error has the record.

    Example:
        >>> import keras, numpy, tempfile, pathlib
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "tiny.tflite"
        >>> record = export_tflite(model, file, data=numpy.ones((8, 4), "float32"))
        >>> record.ops, record.verification.verdict
        ({'FULLY_CONNECTED': 1}, 'passed')
    """
    of_auto = {name: options.pop(name) for name in _OF_AUTO if name in options}
    if calibrate:
        made = fit(model, ExportOptions(**options))
        model, options = made.model, vars(made.options)
    if quantization == AUTO:
        return choose_tflite(model, path, **of_auto, **options)
    wrong = [name for name, value in of_auto.items() if value is not None]
    if wrong:
        raise InputError(
            f"`{wrong[0]}` needs quantization='auto'. Received: quantization={quantization!r}"
        )
    return export.export_tflite(model, path, quantization=quantization, **options)
