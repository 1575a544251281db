"""Chooses the precision of a `.tflite` file by measurement: the smallest file that is accurate."""

from keras_distill.precision._choose import Limits, choose_tflite
from keras_distill.precision._entry import AUTO, export_tflite
from keras_distill.precision._explain import explain
from keras_distill.precision._probabilities import Calibrated, calibrate, divided
from keras_distill.precision._train import Training

__all__ = [
    "AUTO",
    "Calibrated",
    "Limits",
    "Training",
    "calibrate",
    "choose_tflite",
    "divided",
    "explain",
    "export_tflite",
]
