"""Runs `.tflite` files, in this process or in a child process, and reads and changes them."""

from keras_distill.litert._interpreter import LiteRTModel
from keras_distill.litert._isolated import IsolatedModel, Probe, predict_isolated, probe, probe_on
from keras_distill.litert._metadata import add_metadata, label_file
from keras_distill.litert._parallel import ParallelModel, usable_threads
from keras_distill.litert._parser import Graph, read_graph
from keras_distill.litert._quantizer import (
    ALGORITHMS,
    KINDS,
    RANGES,
    Effect,
    Operator,
    Quantizer,
    Rule,
)
from keras_distill.litert._strip import strip_file
from keras_distill.litert._tensors import TensorSpec, takes_pixels
from keras_distill.litert._weights import count_weights

__all__ = [
    "ALGORITHMS",
    "KINDS",
    "RANGES",
    "Effect",
    "Graph",
    "IsolatedModel",
    "LiteRTModel",
    "Operator",
    "ParallelModel",
    "Probe",
    "Quantizer",
    "Rule",
    "TensorSpec",
    "add_metadata",
    "count_weights",
    "label_file",
    "predict_isolated",
    "probe",
    "probe_on",
    "read_graph",
    "strip_file",
    "takes_pixels",
    "usable_threads",
]
