"""Exports `.tflite` files in every precision; each is run and compared before it is written."""

from keras_distill._internal._signatures import SIGNATURE, InputInfo
from keras_distill.export._calibration import random_samples
from keras_distill.export._export import export_all, export_tflite, record_path
from keras_distill.export._metric import labels_by_output, score
from keras_distill.export._options import QUANTIZATIONS, ExportOptions
from keras_distill.export._own_accuracy import measure_own_accuracy
from keras_distill.export._prepare import resolve
from keras_distill.export._samples import Samples, take
from keras_distill.export._sources import KerasSource
from keras_distill.export._tflite_source import (
    TFLiteSource,
    same_inputs,
    shown_inputs,
)
from keras_distill.export._verification import LIMITS, MAX_DROP, default_max_drop
from keras_distill.export._verify import verify_tflite

__all__ = [
    "LIMITS",
    "MAX_DROP",
    "QUANTIZATIONS",
    "SIGNATURE",
    "ExportOptions",
    "InputInfo",
    "KerasSource",
    "Samples",
    "TFLiteSource",
    "default_max_drop",
    "export_all",
    "export_tflite",
    "labels_by_output",
    "measure_own_accuracy",
    "random_samples",
    "record_path",
    "resolve",
    "same_inputs",
    "score",
    "shown_inputs",
    "take",
    "verify_tflite",
]
