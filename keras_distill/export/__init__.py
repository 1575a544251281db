"""`.tflite` files in every precision, each run and compared with its model before it is kept."""

from keras_distill.export._export import QUANTIZATIONS, export_all, export_tflite, record_path
from keras_distill.export._gate import LIMITS

__all__ = ["LIMITS", "QUANTIZATIONS", "export_all", "export_tflite", "record_path"]
