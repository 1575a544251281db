"""Defines the signatures of SavedModels and `.tflite` files: their inputs and names."""

import re
from typing import NamedTuple

from keras_distill._internal._types import Shape

SIGNATURE = "serving_default"


class InputInfo(NamedTuple):
    """An input of a model.

    Attributes:
        name: The name in the file.
        shape: The shape, with the batch axis first.
        dtype: The name of the dtype.
    """

    name: str
    shape: Shape
    dtype: str


def signature_name(name: str) -> str:
    """Converts a name to one that is valid in a SavedModel signature.

    Invalid characters become "_". "x" is put before a name that does not start with a letter.

    Example:
        >>> signature_name("a-b/c"), signature_name("0x")
        ('a_b_c', 'x0x')
    """
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return name if name[:1].isalpha() else f"x{name}"
