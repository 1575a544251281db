"""The soft-target store: a teacher's logits, computed once, verified, and read by `tf.data`."""

from keras_distill.targets._parallel import build_store
from keras_distill.targets._read import PeekableDataset
from keras_distill.targets._sources import StoreSource
from keras_distill.targets._store import SoftTargetStore

__all__ = ["PeekableDataset", "SoftTargetStore", "StoreSource", "build_store"]
