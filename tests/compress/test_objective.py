"""The loss of a compression follows the task, as in the Distiller."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import InputError, Targets
from keras_distill.compress._objective import Objective
from keras_distill.losses import MultiLabelSoftLoss, RegressionLoss, SoftTargetLoss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 8)).astype("float32")
V = RNG.normal(size=(8, 3)).astype("float32")
Z = X @ V


def student(units, end=None):
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(units, end)])


def prepared(model, y, logits, **options):
    objective = Objective(model, **options)
    objective.prepare(X, y, logits)
    return objective


@pytest.mark.parametrize(
    ("units", "end", "labels", "soft", "right"),
    [
        (3, None, Z.argmax(1), SoftTargetLoss, 1.0),
        (3, "sigmoid", (Z > 0).astype(int), MultiLabelSoftLoss, 1.0),
        (3, None, (Z > 0).astype("float32"), MultiLabelSoftLoss, 1.0),
        (1, "sigmoid", (Z[:, 0] > 0).astype(int), MultiLabelSoftLoss, 1.0),
        (1, None, (Z[:, :1] > 0).astype("float32"), MultiLabelSoftLoss, 1.0),
        (3, None, Z + 5, RegressionLoss, None),
        (1, None, Z[:, 0] + 5, RegressionLoss, None),
    ],
)
def test_losses_and_accuracy_of_a_task(units, end, labels, soft, right):
    logits = tf.constant(Z[:, :units])
    y = Targets(labels, Z[:, :units] + 0.1)
    objective = prepared(student(units, end), y, logits)
    assert [type(loss) for loss in objective._soft.losses] == [soft]
    parts = objective(X, y, None, logits, tf.constant(0))
    assert np.isfinite(parts.total) and parts.soft > 0
    if right is None:
        assert parts.correct == {}
    else:
        ((values, _),) = parts.correct.values()
        assert float(tf.reduce_mean(values)) == right


def test_two_classes_in_one_unit_and_in_two():
    two = np.concatenate([Z[:, :1], Z[:, 1:2]], axis=1)
    logits = tf.constant(two[:, 1:] - two[:, :1])
    y = Targets(two.argmax(1), two)
    objective = prepared(student(1), y, logits)
    assert float(objective(X, y, None, logits, tf.constant(0)).soft) == pytest.approx(0, abs=1e-6)


def test_contradictions_and_probabilities_are_refused():
    with pytest.raises(InputError, match="For several labels, use MultiLabelSoftLoss"):
        prepared(student(3, "softmax"), Targets((Z > 0).astype(int), Z), Z)
    p = tf.nn.softmax(Z).numpy()
    y = Targets(Z.argmax(1), p)
    with pytest.raises(InputError, match="The stored soft targets look like probabilities"):
        prepared(student(3), y, Z)
    objective = prepared(student(3), y, Z, from_probabilities=True)
    assert float(objective(X, y, None, Z, tf.constant(0)).soft) == pytest.approx(0, abs=1e-5)
    with pytest.raises(InputError, match="outputs of teacher 'callable' look like probabilities"):
        prepared(student(3), Z.argmax(1), Z, teacher=lambda x: p)
