"""The one home of the TFLite converter and of LiteRT Quantizer, run as a child process.

    python -m keras_distill.export._convert REQUEST.json

The converter prints on stdout, can hang, and for some graphs dies of a signal; here it takes only
itself down. Each precision leaves `<precision>.tflite` and `<precision>.json` (its error, or null)
in the folder of the request, so that the parent knows which one was under way at a death.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIGNATURE = "serving_default"
WEIGHT_ONLY_BITS = {"weight-only-int8": 8, "weight-only-int4": 4}


def _samples(path: str, batch: int) -> Iterator[dict[str, Any]]:
    """Calibration samples by input name, `batch` rows at a time; a last partial batch is left."""
    import numpy as np

    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    rows = len(next(iter(arrays.values())))
    for start in range(0, rows - batch + 1, batch):
        yield {name: a[start : start + batch] for name, a in arrays.items()}


def _converted(request: dict, quantization: str) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(
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


def _weight_only(request: dict, quantization: str, folder: Path) -> bytes:
    from litert_quantizer import qtyping, quantizer

    source = folder / "float32-source.tflite"
    if not source.exists():
        source.write_bytes(_converted({**request, "sparse": False}, "float32"))
    work = quantizer.Quantizer(str(source))
    work.add_weight_only_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        num_bits=WEIGHT_ONLY_BITS[quantization],
    )
    return bytes(work.quantize().quantized_model)


def convert(request: dict) -> None:
    """Makes every precision asked for; an error of one does not stop the others.

    Args:
        request: `saved_model` (folder), `out` (folder), `quantizations`, `io` ("integer" or
            "float32"), `calibration` (.npz or null), `batch_size` (or null), `sparse`.
    """
    folder = Path(request["out"])
    for quantization in request["quantizations"]:
        print(f"== {quantization}", file=sys.stderr, flush=True)
        start, error = time.monotonic(), None
        try:
            if quantization in WEIGHT_ONLY_BITS:
                data = _weight_only(request, quantization, folder)
            else:
                data = _converted(request, quantization)
            (folder / f"{quantization}.tflite").write_bytes(data)
        except MemoryError:
            error = "out of memory"
        except Exception as raised:  # whatever a converter raises is the answer, told in words
            error = f"{type(raised).__name__}: {raised}"
        result = {"error": error, "seconds": round(time.monotonic() - start, 2)}
        temporary = folder / f"{quantization}.json.part"
        temporary.write_text(json.dumps(result), encoding="utf-8")
        os.replace(temporary, folder / f"{quantization}.json")


if __name__ == "__main__":
    convert(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
