"""Small data and a teacher whose answers can be computed in one line."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.targets import SoftTargetStore

EXAMPLES, CLASSES, BATCH = 70, 7, 8


class Data:
    """`n` small images with labels, and a linear teacher of them."""

    def __init__(self, n: int = EXAMPLES, classes: int = CLASSES):
        rng = np.random.default_rng(0)
        self.x = rng.integers(0, 256, (n, 4, 4, 1), dtype=np.uint8)
        self.y = rng.integers(0, classes, n)
        self.weights = rng.normal(scale=0.02, size=(16, classes)).astype(np.float32)
        self.asked = 0

    @property
    def dataset(self) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((self.x, self.y))

    @property
    def of_unknown_size(self) -> tf.data.Dataset:
        return self.dataset.filter(lambda x, y: y >= 0)

    def teacher(self, x: np.ndarray) -> np.ndarray:
        self.asked += len(x)
        return x.reshape(len(x), -1).astype(np.float32) @ self.weights

    def logits(self, x: np.ndarray | None = None) -> np.ndarray:
        x = self.x if x is None else x
        return x.reshape(len(x), -1).astype(np.float32) @ self.weights


@pytest.fixture
def data() -> Data:
    return Data()


@pytest.fixture
def build(data, tmp_path) -> Callable[..., SoftTargetStore]:
    """`build(**arguments)`: a store of `data` in `tmp_path / "store"`."""

    def call(teacher=data.teacher, dataset=None, path=tmp_path / "store", **arguments):
        arguments = {"batch_size": BATCH, "shard_batches": 3, **arguments}
        dataset = data.dataset if dataset is None else dataset
        return SoftTargetStore.build(teacher, dataset, path, **arguments)

    return call
