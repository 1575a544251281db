"""Probabilities taken for logits are refused at every door, and converted where declared."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from scipy.special import expit, log_softmax, softmax

from keras_distill import InputError, TopK
from keras_distill.teachers import (
    CallableTeacher,
    Declaration,
    KerasTeacher,
    Teacher,
    TeacherEnsemble,
    as_teacher,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 8)).astype("float32")
W = RNG.normal(size=(8, 5)).astype("float32")
Z = X @ W
layers = keras.layers


def _part(x):
    return softmax(np.tile(x @ W, 10), axis=1)[:, :5]


PROBABILITIES = {
    "softmax": lambda x: softmax(x @ W, axis=1),
    "sigmoid": lambda x: expit(x @ W),
    "one unit": lambda x: expit(x @ W[:, :1]),
    "some of the classes": _part,
    "rounded": lambda x: np.round(256 * softmax(x @ W, axis=1)) / 256,
}


@pytest.mark.parametrize("shape", [None, (5,)], ids=["no shape", "shape"])
@pytest.mark.parametrize("kind", PROBABILITIES)
def test_a_function(kind, shape):
    shape = (1,) if shape and kind == "one unit" else shape
    teacher = CallableTeacher(PROBABILITIES[kind], name="f", output_shape=shape)
    assert teacher.needs_check
    with pytest.raises(InputError, match=r"teacher 'f' look like probabilities.*=True"):
        teacher.predict(X)
    logits = CallableTeacher(PROBABILITIES[kind], from_probabilities=False)
    np.testing.assert_allclose(logits.predict(X), PROBABILITIES[kind](X), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "declared", "expected"),
    [
        ("softmax", True, log_softmax(Z, axis=1)),
        ("softmax", "softmax", log_softmax(Z, axis=1)),
        ("sigmoid", True, Z),
        ("sigmoid", "sigmoid", Z),
        ("one unit", True, Z[:, :1]),
        ("some of the classes", "softmax", np.log(_part(X))),
    ],
)
@pytest.mark.parametrize("in_graph", [False, True])
def test_declared_probabilities_become_logits(kind, declared, expected, in_graph):
    teacher = as_teacher(PROBABILITIES[kind], from_probabilities=declared)
    found = teacher.predict(X)
    if in_graph:  # the first batch has shown the kind
        found = tf.function(teacher.logits)(tf.constant(X))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_what_cannot_be_told_or_is_none():
    with pytest.raises(InputError, match=r"must be 'softmax' \(some of the classes of a softmax"):
        as_teacher(_part, from_probabilities=True).predict(X)
    with pytest.raises(InputError, match=r"needs values in 0\.\.1. Received: .* Logits need no"):
        as_teacher(lambda x: x @ W, from_probabilities=True).predict(X)
    with pytest.raises(InputError, match="`from_probabilities` must be one of None, False, True"):
        as_teacher(lambda x: x @ W, from_probabilities="yes")
    with pytest.raises(InputError, match="for a teacher that ends in logits"):
        as_teacher(keras.Sequential([keras.Input((8,)), layers.Dense(3)]), from_probabilities=True)


class Hidden(keras.Model):
    def __init__(self, end):
        super().__init__(name="hidden")
        self.dense, self.end = layers.Dense(5), end

    def call(self, x):
        return self.end(self.dense(x))


@pytest.mark.parametrize("end", [tf.nn.softmax, tf.nn.sigmoid])
def test_a_model_without_a_graph(end):
    model = Hidden(end)
    z = model.dense(X)
    model(X)
    with pytest.raises(InputError, match="teacher 'hidden' look like probabilities"):
        KerasTeacher(model).predict(X)
    found = KerasTeacher(model, from_probabilities=True).predict(X)
    np.testing.assert_allclose(end(found), end(z), atol=1e-5)


def test_a_softmax_of_keras_in_a_model_without_a_graph_is_removed_exactly():
    for end, kind in ((keras.activations.softmax, "softmax"), (keras.ops.sigmoid, "sigmoid")):
        model = Hidden(end)
        model(X)
        for declared in (None, True):
            teacher = KerasTeacher(model, from_probabilities=declared)
            np.testing.assert_allclose(teacher.checked_logits(X)[""], model.dense(X), atol=1e-5)
            assert teacher.head("").kind == kind


def test_a_tf_keras_model():
    dense = tf_keras.layers.Dense(5, "sigmoid")
    model = tf_keras.Sequential([tf_keras.Input((8,)), dense])
    with pytest.raises(InputError, match="look like probabilities"):
        as_teacher(model).predict(X)
    logits = as_teacher(model, from_probabilities=True).predict(X)
    np.testing.assert_allclose(expit(logits), model(X), atol=1e-5)


class Own(Teacher):
    def outputs(self, x, layers=()):
        return {"": tf.nn.softmax(tf.convert_to_tensor(x) @ W)}, {}

    def fingerprint(self):
        return None


def test_a_teacher_of_your_own_and_ensembles():
    own = Own()
    with pytest.raises(InputError, match="look like probabilities"):
        own.predict(X)
    declared = as_teacher(own, from_probabilities=True)
    assert own.from_probabilities is None and declared is not own
    np.testing.assert_allclose(declared.predict(X), log_softmax(Z, axis=1), atol=1e-4)
    with pytest.raises(InputError, match="look like probabilities"):
        TeacherEnsemble([own, own]).checked_logits(X)
    mean = as_teacher([own, lambda x: softmax(x @ W, axis=1)], from_probabilities=True)
    np.testing.assert_allclose(mean.predict(X), log_softmax(Z, axis=1), atol=1e-4)


def test_few_values_show_nothing_but_rows_that_sum_to_1():
    look = Declaration(None, "They")
    look.check({"": np.array([[0.3, 0.9]])})
    with pytest.raises(InputError, match="They look like probabilities"):
        look.check({"": np.array([[0.3, 0.7]])})
    look.check({"": np.zeros((64, 3))})
    look.check({"value": expit(Z)}, values=["value"])
    with pytest.raises(InputError, match="They look like probabilities"):
        look.check({"value": expit(Z)})


def test_a_topk_is_of_logits():
    kept = TopK([[0]], [[2.0]], [0.0], [0.0])
    Declaration(None, "They").check({"": kept})
    with pytest.raises(InputError, match="`from_probabilities` must be left out for a TopK"):
        Declaration(True, "They").logits({"": kept})
