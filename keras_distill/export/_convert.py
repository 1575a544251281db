"""Calls the TFLite converter and LiteRT Quantizer. This module runs in a child process.

The converter prints to standard output, can hang, and crashes on some graphs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_distill._internal._signatures import SIGNATURE

WEIGHT_ONLY_BITS = {"weight-only-int8": 8, "weight-only-int4": 4}


def _samples(path: str, batch: int) -> Iterator[dict[str, Any]]:
    """Yields calibration samples by input name, `batch` rows at a time. Drops a partial batch."""
    import numpy as np

    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    rows = len(next(iter(arrays.values())))
    for start in range(0, rows - batch + 1, batch):
        yield {name: a[start : start + batch] for name, a in arrays.items()}


def _converted(request: dict[str, Any], quantization: str) -> bytes:
    import tensorflow as tf

    converter: Any = tf.lite.TFLiteConverter.from_saved_model(
        request["saved_model"], signature_keys=[SIGNATURE]
    )
    ops = tf.lite.OpsSet
    optimizations = [] if quantization == "float32" else [tf.lite.Optimize.DEFAULT]
    if request["sparse"]:
        optimizations.append(tf.lite.Optimize.EXPERIMENTAL_SPARSITY)
    converter.optimizations = optimizations
    converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif quantization in ("int8", "int16x8"):
        converter.representative_dataset = lambda: _samples(
            request["calibration"], request["batch_size"] or 1
        )
        if quantization == "int8":
            converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS_INT8]
        else:
            converter.target_spec.supported_ops = [
                ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            ]
        if request["io"] == "integer":
            dtype = tf.int8 if quantization == "int8" else tf.int16
            converter.inference_input_type = converter.inference_output_type = dtype
    return bytes(converter.convert())


def _weight_only(request: dict[str, Any], quantization: str, folder: Path) -> bytes:
    from litert_quantizer import qtyping, quantizer

    source = folder / "float32-source.tflite"
    if not source.exists():
        source.write_bytes(_converted({**request, "sparse": False}, "float32"))
    work: Any = quantizer.Quantizer(str(source))
    work.add_weight_only_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        num_bits=WEIGHT_ONLY_BITS[quantization],
    )
    model = work.quantize().quantized_model
    assert model is not None  # only a quantization without a recipe returns None
    return bytes(model)


class Service:
    """Converts in the child process (`_internal._child`)."""

    def convert(self, quantization: str, **request: Any) -> None:
        """Converts to one precision and writes `<out>/<quantization>.tflite`.

        Args:
            quantization: The precision.
            **request: `saved_model` (folder), `out` (folder), `io` ("integer" or "float32"),
                `calibration` (.npz or None), `batch_size` (or None), `sparse`.
        """
        folder = Path(request["out"])
        if quantization in WEIGHT_ONLY_BITS:
            data = _weight_only(request, quantization, folder)
        else:
            data = _converted(request, quantization)
        (folder / f"{quantization}.tflite").write_bytes(data)
