"""The first 20,000 training images of CIFAR-100. The folder of TFDS data sets is TFDS_DATA_DIR."""

from typing import Any

import numpy as np

from keras_distill import data

_COUNT = 20_000


def part() -> dict[str, Any]:
    """Returns the images and fine labels."""
    splits = data.load("tfds:cifar100", reads=("train",))
    batches = list(splits.train.take(_COUNT).batch(1024).as_numpy_iterator())
    x, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    few = (x[:100], y[:100])
    return {
        "train": (x, y), "validation": few, "test": few, "class_names": splits.class_names
    }  # fmt: skip
