"""Exports `.tflite` files in every precision; each is run and compared before it is written."""

from keras_distill._internal._signatures import SIGNATURE, InputInfo
from keras_distill.export._calibration import random_samples
from keras_distill.export._export import export_all, export_tflite, record_path
from keras_distill.export._options import QUANTIZATIONS, ExportOptions
from keras_distill.export._prepare import resolve
from keras_distill.export._samples import Samples, take
from keras_distill.export._sources import KerasSource
from keras_distill.export._verification import LIMITS, MAX_DROP

__all__ = [
    "LIMITS",
    "MAX_DROP",
    "QUANTIZATIONS",
    "SIGNATURE",
    "ExportOptions",
    "InputInfo",
    "KerasSource",
    "Samples",
    "export_all",
    "export_tflite",
    "random_samples",
    "record_path",
    "resolve",
    "take",
]
