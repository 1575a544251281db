"""The soft-target store: a teacher's logits, computed once, verified, and read by `tf.data`."""

from keras_distill.targets._read import PeekableDataset
from keras_distill.targets._store import SoftTargetStore

__all__ = ["PeekableDataset", "SoftTargetStore"]
