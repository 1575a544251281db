"""A twelfth of CIFAR-100, so that a study fits into minutes."""

import dataclasses

import keras_distill as kd

_IMAGES = 4_000


def cifar100():
    """The first 4,000 training images of `tfds:cifar100`, with its validation and test splits."""
    splits = kd.data.load("tfds:cifar100")
    note = f"Only the first {_IMAGES} training images are used."
    train = splits.train.take(_IMAGES)
    return dataclasses.replace(splits, train=train, notes=(*splits.notes, note))
