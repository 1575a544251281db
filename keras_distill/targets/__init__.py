"""The soft-target store: what a teacher said, written once, verified, read by `tf.data`."""

from keras_distill.targets._read import PeekableDataset
from keras_distill.targets._store import SoftTargetStore

__all__ = ["PeekableDataset", "SoftTargetStore"]
