"""The soft-target store: what a teacher said, written once, verified, read by `tf.data`."""

from keras_distill.targets._keys import WRONG_DATA
from keras_distill.targets._read import first_batch
from keras_distill.targets._store import SoftTargetStore

__all__ = ["WRONG_DATA", "SoftTargetStore", "first_batch"]
