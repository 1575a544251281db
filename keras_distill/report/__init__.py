"""Records as one self-contained HTML page; needs no TensorFlow."""

from keras_distill.report._page import render, write

__all__ = ["render", "write"]
