"""Errors of a user's input that only a running TensorFlow graph can see.

A graph reports a failed assertion as `tf.errors.InvalidArgumentError` with a long text. Assertions
made here carry a code, by which `readable_errors` recognizes them and raises an `InputError` with
the message alone. This module imports TensorFlow, so the package `_internal` does not import it.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from keras_distill._internal import InputError

_CODE = "keras_distill.InputError: "


def insist(condition: Any, *message: Any) -> tf.Operation | None:
    """Asserts a condition, in a graph or eagerly. XLA drops assertions.

    Args:
        condition: A scalar bool tensor.
        *message: Strings and tensors, joined with spaces in the error; the first is a string.

    Raises:
        InputError: If executing eagerly and the condition is false.
    """
    if tf.executing_eagerly():
        if not condition:
            parts = (part.numpy() if tf.is_tensor(part) else part for part in message)
            raise InputError(" ".join(str(part) for part in parts))
        return None
    first, *rest = message
    return tf.debugging.Assert(condition, [coded(first), *rest])


def coded(message: str) -> str:
    """Returns a message with the code, for an exception raised in Python that a graph calls."""
    return _CODE + message


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Turns the errors of this module's assertions into `InputError`.

    Raises:
        InputError: With the message of the assertion that failed.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = re.search(re.escape(_CODE) + "(.+)", str(error))
        if found is None:
            raise
        message = found[1].replace("] [", " ").rstrip("'\"")
        # The data of an assertion are printed in brackets: one of them is left at the end.
        if message.count("]") > message.count("["):
            message = message.removesuffix("]")
        raise InputError(message) from error
