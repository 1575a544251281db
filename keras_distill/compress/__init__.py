"""Pruning, clustering, and quantization-aware training of Keras 3 models with soft targets.

It uses tensorflow-model-optimization on a tf_keras twin. Importing this package imports both.
"""

from keras_distill.compress._bridge import to_keras, to_tf_keras
from keras_distill.compress._clustering import cluster
from keras_distill.compress._fake_quant import FakeQuantModel
from keras_distill.compress._fit import Training
from keras_distill.compress._pipeline import (
    STEP_COLUMNS,
    Compressed,
    check_student,
    compress,
    step_rows,
    summary,
)
from keras_distill.compress._pruning import prune
from keras_distill.compress._quantization import Quantized, quantize_aware
from keras_distill.litert import count_weights

__all__ = [
    "STEP_COLUMNS",
    "Compressed",
    "FakeQuantModel",
    "Quantized",
    "Training",
    "check_student",
    "cluster",
    "compress",
    "count_weights",
    "prune",
    "quantize_aware",
    "step_rows",
    "summary",
    "to_keras",
    "to_tf_keras",
]
