"""Small nets and data for the tests of training."""

import keras
import numpy as np
import pytest

layers = keras.layers


@pytest.fixture
def mlp():
    """Builds `mlp(*hidden, classes=3, end=None, features=8, seed=0)`, ending in logits."""

    def build(*hidden, classes=3, end=None, features=8, seed=0, **last):
        keras.utils.set_random_seed(seed)
        return keras.Sequential(
            [
                keras.Input((features,)),
                *[layers.Dense(units, "relu") for units in hidden],
                layers.Dense(classes, end, **last),
            ]
        )

    return build


@pytest.fixture
def batch():
    """One batch: x `(12, 8)`, class ids `(12,)`, sample weights `(12,)`."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(12, 8)).astype("float32")
    return x, rng.integers(0, 3, 12), rng.uniform(0.2, 2.0, 12).astype("float32")


@pytest.fixture
def one_step():
    """Runs `train_on_batch` without a graph and with plain SGD.

    `one_step(distiller, x, y, **arguments)` gives the logs, and minus the update of each weight,
    which is the gradient at learning rate 1.
    """

    def run(distiller, x, y, *, loss=None, loss_weights=None, eager=True, **arguments):
        if loss is None:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        distiller.compile(
            keras.optimizers.SGD(1.0), loss, loss_weights=loss_weights, run_eagerly=eager
        )
        before = [w.numpy().copy() for w in distiller.trainable_weights]
        logs = distiller.train_on_batch(x, y, return_dict=True, **arguments)
        after = [w.numpy() for w in distiller.trainable_weights]
        return logs, [a - b for a, b in zip(before, after, strict=True)]

    return run
