"""The precision of a `.tflite` file chosen by measurement: the smallest that keeps the accuracy."""

from keras_distill.precision._choose import Limits, choose_tflite
from keras_distill.precision._entry import AUTO, export_tflite
from keras_distill.precision._explain import explain
from keras_distill.precision._probabilities import Calibrated, calibrate, divided
from keras_distill.precision._train import Training
from keras_distill.report import (
    CALIBRATION_COLUMNS,
    CANDIDATE_COLUMNS,
    SENSITIVITY_COLUMNS,
    calibration_rows,
    candidate_rows,
    sensitivity_rows,
)

__all__ = [
    "AUTO",
    "CALIBRATION_COLUMNS",
    "CANDIDATE_COLUMNS",
    "SENSITIVITY_COLUMNS",
    "Calibrated",
    "Limits",
    "Training",
    "calibrate",
    "calibration_rows",
    "candidate_rows",
    "choose_tflite",
    "divided",
    "explain",
    "export_tflite",
    "sensitivity_rows",
]
