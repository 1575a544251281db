import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from keras_distill.records import TrainingSettings
from keras_distill.training import make_optimizer

STEPS = 4
DECAY = 0.1


def _both(**settings):
    """The optimizers of Keras and tf_keras, each with the class of its variables."""
    settings = TrainingSettings(**settings)
    twin = make_optimizer(settings, STEPS, optimizers=tf_keras.optimizers)
    return (make_optimizer(settings, STEPS), keras.Variable), (twin, tf.Variable)


def _rates(optimizer, variable_class):
    """The learning rate of each step, seen in how much of a weight without gradient decays."""
    variable = variable_class(np.ones(1, "float32"))
    optimizer.build([variable])
    weights = [1.0]
    for _ in range(STEPS + 1):
        optimizer.apply_gradients([(tf.zeros(1), variable)])
        weights.append(float(variable[0]))
    return [(1 - after / before) / DECAY for before, after in itertools.pairwise(weights)]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_keras_and_tf_keras_get_the_same_optimizer_with_a_cosine_and_decoupled_decay(name):
    cosine = [0.5 * (1 + np.cos(np.pi * i / STEPS)) / 2 for i in range(STEPS + 1)]
    for optimizer, variable_class in _both(optimizer=name, learning_rate=0.5, weight_decay=DECAY):
        assert type(optimizer).__name__.lower() == name
        assert _rates(optimizer, variable_class) == pytest.approx(cosine, abs=1e-5)


def test_a_constant_learning_rate():
    settings = {"schedule": "constant", "learning_rate": 0.25, "weight_decay": DECAY}
    for optimizer, variable_class in _both(**settings):
        assert _rates(optimizer, variable_class) == pytest.approx([0.25] * (STEPS + 1), abs=1e-5)


def test_sgd_has_nesterov_momentum():
    for optimizer, _ in _both(optimizer="sgd", momentum=0.7):
        assert optimizer.nesterov and optimizer.momentum == 0.7


def test_weight_decay_is_keras_s_own_by_default():
    for name, expected in (("adam", None), ("adamw", 0.004), ("sgd", None)):
        for optimizer, _ in _both(optimizer=name):
            assert optimizer.weight_decay == expected
