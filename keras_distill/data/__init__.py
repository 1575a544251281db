"""Named sources of labelled examples as tf.data: one spec string each, three splits, raw values."""

from keras_distill.data._load import load, sources
from keras_distill.data.augment import Augmentation
from keras_distill.data.batching import batches
from keras_distill.data.labels import UNLABELLED, keep_labels
from keras_distill.data.normalisation import Rescale, statistics
from keras_distill.data.splits import Splits
from keras_distill.data.streams import labels_of

__all__ = [
    "UNLABELLED",
    "Augmentation",
    "Rescale",
    "Splits",
    "batches",
    "keep_labels",
    "labels_of",
    "load",
    "sources",
    "statistics",
]
