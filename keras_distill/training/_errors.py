"""Assertions of a running graph, turned into the errors they stand for."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.targets import WRONG_DATA
from keras_distill.training._terms import NOT_FINITE, RULED_OUT

# What the losses over the batch assert of the weights.
_UNEQUAL = "relates the examples of a batch"


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Turns what TensorFlow raises for a failed assertion of ours into an `InputError`."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        text = str(error)
        from_host = re.search(r"InputError: (.+)", text)  # raised by a teacher on the host
        if from_host:
            raise InputError(from_host[1]) from error
        if NOT_FINITE in text:
            raise InputError(f"{NOT_FINITE}. Check the teacher, or the stored targets.") from error
        for mark in (_UNEQUAL, WRONG_DATA, RULED_OUT):
            if mark in text:
                line = next(part for part in text.splitlines() if mark in part)
                words = line.partition("assertion failed:")[2].replace("] [", " ")
                raise InputError(words.strip(" []'\"")) from error
        raise
