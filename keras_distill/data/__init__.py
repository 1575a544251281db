"""Data sources: `load` takes a spec string and returns the three splits of raw examples.

The table of sources is `SOURCES` in `_load.py`. Each source has one file with one function `load`.
To add a source, write such a file and add a line to the table.
"""

from keras_distill.data._augment import Augmentation
from keras_distill.data._batching import batches, epoch_seed, read_ahead, shuffled
from keras_distill.data._image_files import read_images
from keras_distill.data._labels import UNLABELED, keep_labels, labels_of, select
from keras_distill.data._load import load, load_or_call, sources
from keras_distill.data._memory import MemoryDataset
from keras_distill.data._mixing import Mixing, Pool, mixed_labels
from keras_distill.data._normalization import Rescale, statistics
from keras_distill.data._pictures import are_images, pictures
from keras_distill.data._splits import Splits
from keras_distill.data._views import augmented_batches

__all__ = [
    "UNLABELED",
    "Augmentation",
    "MemoryDataset",
    "Mixing",
    "Pool",
    "Rescale",
    "Splits",
    "are_images",
    "augmented_batches",
    "batches",
    "epoch_seed",
    "keep_labels",
    "labels_of",
    "load",
    "load_or_call",
    "mixed_labels",
    "pictures",
    "read_ahead",
    "read_images",
    "select",
    "shuffled",
    "sources",
    "statistics",
]
