"""Exports `.tflite` files in every precision; each is run and compared before it is written."""

from keras_distill._internal._signatures import SIGNATURE, InputInfo
from keras_distill.export._calibration import random_samples
from keras_distill.export._converter_process import keep_converter
from keras_distill.export._export import (
    check_paths,
    export_all,
    export_tflite,
    record_path,
    write_export,
)
from keras_distill.export._metric import truths_by_output, worst_class
from keras_distill.export._options import QUANTIZATIONS, ExportOptions
from keras_distill.export._own_accuracy import measure_own_accuracy
from keras_distill.export._prepare import Prepared, prepare, resolve
from keras_distill.export._record import make_record
from keras_distill.export._recurrent import unrolled
from keras_distill.export._samples import Samples, take
from keras_distill.export._session import Session
from keras_distill.export._sources import KerasSource, Source
from keras_distill.export._tflite_source import (
    TFLiteSource,
    same_inputs,
    shown_inputs,
)
from keras_distill.export._verification import LIMITS, MAX_DROP, Rule, default_max_drop
from keras_distill.export._verify import verify_tflite

__all__ = [
    "LIMITS",
    "MAX_DROP",
    "QUANTIZATIONS",
    "SIGNATURE",
    "ExportOptions",
    "InputInfo",
    "KerasSource",
    "Prepared",
    "Rule",
    "Samples",
    "Session",
    "Source",
    "TFLiteSource",
    "check_paths",
    "default_max_drop",
    "export_all",
    "export_tflite",
    "keep_converter",
    "make_record",
    "measure_own_accuracy",
    "prepare",
    "random_samples",
    "record_path",
    "resolve",
    "same_inputs",
    "shown_inputs",
    "take",
    "truths_by_output",
    "unrolled",
    "verify_tflite",
    "worst_class",
    "write_export",
]
