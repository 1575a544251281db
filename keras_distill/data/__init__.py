"""Named sources of labeled examples as tf.data: one spec string each, three splits, raw values."""

from keras_distill.data._augment import Augmentation
from keras_distill.data._batching import batches
from keras_distill.data._labels import UNLABELED, keep_labels
from keras_distill.data._load import load, sources
from keras_distill.data._normalization import Rescale, statistics
from keras_distill.data._splits import Splits
from keras_distill.data._streams import labels_of

__all__ = [
    "UNLABELED",
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
