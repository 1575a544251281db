"""Reports errors in the user's input that only a running TensorFlow graph can detect.

A graph reports a failed assertion as `tf.errors.InvalidArgumentError` with a long text. Assertions
of this module start with a code. `readable_errors` recognizes the code and raises an `InputError`
with the message alone. This module imports TensorFlow, so the package `_internal` does not import
this module.
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
        *message: Strings and tensors, which are joined with spaces in the error message. The first
            must be a string.

    Returns:
        The assertion, to be used as a control dependency in a graph. None when executing eagerly.

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
    """Returns a message with the code, for an exception in a Python function that a graph calls."""
    return _CODE + message


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Converts the errors of this module's assertions to `InputError`.

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
        # TensorFlow prints each part in brackets. The last closing bracket remains.
        if message.count("]") > message.count("["):
            message = message.removesuffix("]")
        raise InputError(message) from error
