"""Functions as teachers, eagerly and inside a graph."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.teachers import CallableTeacher

X = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")


def test_in_a_graph_it_gets_numpy_and_gives_its_shape():
    seen = []

    def function(x):
        seen.append(type(x))
        return (x[:, :3] * 2).astype("float64")

    teacher = CallableTeacher(function, output_shape=(3,))

    @tf.function
    def run(x):
        logits = teacher.logits(x)
        assert logits.shape.as_list() == [None, 3]
        return logits

    values = run(tf.constant(X))
    assert values.dtype == tf.float32 and seen == [np.ndarray]
    np.testing.assert_array_equal(values, X[:, :3] * 2)


def test_structures_in_and_out():
    teacher = CallableTeacher(
        lambda x: {"sum": x["a"] + x["b"], "first": x["a"][:, :1]},
        output_shape={"sum": (6,), "first": (1,)},
    )
    logits = teacher.predict({"a": X, "b": X})
    np.testing.assert_array_equal(logits["sum"], 2 * X)
    assert logits["first"].shape == (4, 1)
    assert teacher.output_shapes == {"sum": (None, 6), "first": (None, 1)}


def test_fingerprint_is_the_name():
    assert CallableTeacher(len).fingerprint() is None
    named = CallableTeacher(len, name="resnet v3").fingerprint()
    assert named == CallableTeacher(max, name="resnet v3").fingerprint()
    assert named != CallableTeacher(len, name="resnet v4").fingerprint()


def test_outputs_without_a_name():
    teacher = CallableTeacher(lambda x: {"a": x})
    with pytest.raises(Exception, match=r"gave a dict of outputs. Name them"):
        teacher.predict(X)
    teacher = CallableTeacher(lambda x: x, output_shape={"a": (6,)})
    with pytest.raises(Exception, match=r"must give outputs \['a'\]. Received: ndarray"):
        teacher.predict(X)


def test_outputs_of_another_shape():
    teacher = CallableTeacher(lambda x: x, name="wide", output_shape=(3,))
    with pytest.raises(
        Exception, match=r"'wide' must give logits of shape \(None, 3\). .*\(4, 6\)"
    ):
        teacher.predict(X)
    teacher = CallableTeacher(lambda x: x, name="flat", output_shape=(2, 3))
    with pytest.raises(Exception, match=r"'flat' must give logits of shape \(None, 2, 3\)"):
        teacher.predict(X)


def test_checked_logits_refuse_probabilities():
    half = CallableTeacher(lambda x: np.full((len(x), 2), 0.5), name="half")
    with pytest.raises(InputError, match="outputs of teacher 'half' look like probabilities"):
        half.checked_logits(X)
    np.testing.assert_array_equal(CallableTeacher(lambda x: x).checked_logits(X)[""], X)


def test_bad_arguments():
    with pytest.raises(InputError, match=r"`function` must be callable. Received: function=3"):
        CallableTeacher(3)
    with pytest.raises(InputError, match="CallableTeacher has no layers to read"):
        CallableTeacher(len).features(X, ["a"])
