"""A tiny task with a known teacher, and nets small enough to be compressed in seconds."""

import keras
import numpy as np
import pytest

from keras_distill import Targets

CLASSES = 4


@pytest.fixture(scope="session")
def task():
    """(x, labels, teacher logits) of a linear teacher on 8x8x3 images."""
    random = np.random.default_rng(0)
    x = random.normal(size=(256, 8, 8, 3)).astype("float32")
    logits = (x.reshape(256, -1) @ random.normal(size=(192, CLASSES)) / 8).astype("float32")
    return x, logits.argmax(1), logits


@pytest.fixture(scope="session")
def soft(task):
    """The task as a pair (x, Targets)."""
    x, labels, logits = task
    return x, Targets(labels, logits)


def convnet(head=None, *, seed=0):
    """Rescaling, Conv+BN+ReLU, depthwise, Dense."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    i = keras.Input((8, 8, 3), name="image")
    h = layers.Rescaling(0.5, offset=0.1, name="normalization")(i)
    h = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(h)
    h = layers.BatchNormalization(name="bn")(h)
    h = layers.ReLU(name="relu")(h)
    h = layers.DepthwiseConv2D(3, name="depthwise")(h)
    h = layers.Flatten(name="flatten")(h)
    return keras.Model(i, layers.Dense(CLASSES, activation=head, name="logits")(h), name="tiny")


def mlp(units=16, *, seed=0):
    """Flatten, Dense, Dense."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Flatten(),
            layers.Dense(units, activation="relu", name="hidden"),
            layers.Dense(CLASSES, name="logits"),
        ],
        name="mlp",
    )


@pytest.fixture
def nets():
    """The two builders: convnet(head, seed=), mlp(units, seed=)."""
    return convnet, mlp
