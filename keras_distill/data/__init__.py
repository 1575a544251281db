"""Named sources of labelled examples as tf.data: one spec string each, three splits, raw values."""

from keras_distill.data.load import load, sources
from keras_distill.data.splits import Splits

__all__ = ["Splits", "load", "sources"]
