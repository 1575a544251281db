"""Named sources of labeled examples as tf.data: one spec string each, three splits, raw values."""

from keras_distill.data._augment import Augmentation
from keras_distill.data._batching import batches, epoch_seed, read_ahead, shuffled
from keras_distill.data._labels import UNLABELED, keep_labels
from keras_distill.data._load import load, sources
from keras_distill.data._normalization import Rescale, statistics
from keras_distill.data._splits import Splits
from keras_distill.data._streams import labels_of, select

__all__ = [
    "UNLABELED",
    "Augmentation",
    "Rescale",
    "Splits",
    "batches",
    "epoch_seed",
    "keep_labels",
    "labels_of",
    "load",
    "read_ahead",
    "select",
    "shuffled",
    "sources",
    "statistics",
]
