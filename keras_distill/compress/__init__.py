"""Pruning, clustering and quantisation-aware training of Keras 3 models, with soft targets.

Uses tensorflow-model-optimization on a tf_keras twin; importing this package imports both.
"""

from keras_distill.compress._fit import Training
from keras_distill.compress.bridge import to_keras, to_tf_keras
from keras_distill.compress.checking import check_student
from keras_distill.compress.clustering import cluster
from keras_distill.compress.counts import count_weights
from keras_distill.compress.fake_quant import FakeQuantModel
from keras_distill.compress.pipeline import Compressed, compress, summary
from keras_distill.compress.pruning import prune
from keras_distill.compress.quantization import Quantized, quantize_aware

__all__ = [
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
    "summary",
    "to_keras",
    "to_tf_keras",
]
