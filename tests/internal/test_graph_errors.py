"""Errors of a running graph are recognized by a code of ours, not by their text."""

import pytest
import tensorflow as tf

from keras_distill import InputError
from keras_distill._internal._graph_errors import coded, insist, readable_errors


@tf.function
def positive(x):
    with tf.control_dependencies([insist(x > 0, "x must be > 0. Received:", x, "of", 2)]):
        return tf.identity(x)


def test_a_failed_assertion_of_ours_is_an_input_error():
    assert positive(tf.constant(1)) == 1
    with pytest.raises(InputError, match=r"^x must be > 0\. Received: -3 of 2$"), readable_errors():
        positive(tf.constant(-3))


def test_eagerly_it_is_raised_at_once():
    assert insist(tf.constant(True), "never") is None
    with pytest.raises(InputError, match=r"^x is -3$"):
        insist(tf.constant(False), "x is", tf.constant(-3))


def test_an_error_of_python_called_by_a_graph():
    def fails(x):
        raise InputError(coded("The function's own message."))

    @tf.function
    def call(x):
        return tf.numpy_function(fails, [x], tf.float32)

    with pytest.raises(InputError, match=r"^The function's own message\.$"), readable_errors():
        call(tf.constant(1.0))


@pytest.mark.parametrize("text", ["InputError: soft-target store", "hold NaN or +infinity"])
def test_other_errors_pass_whatever_they_say(text):
    @tf.function
    def other(x):
        with tf.control_dependencies([tf.debugging.Assert(x > 0, [text])]):
            return tf.identity(x)

    with pytest.raises(tf.errors.InvalidArgumentError), readable_errors():
        other(tf.constant(-1))
