"""Inputs and names of signatures: what SavedModels and `.tflite` files call them."""

import re
from typing import NamedTuple

from keras_distill._internal._types import Shape

SIGNATURE = "serving_default"


class InputInfo(NamedTuple):
    """An input of a model: its name in the file, its shape with the batch first, and its dtype."""

    name: str
    shape: Shape
    dtype: str


def signature_name(name: str) -> str:
    """Replaces the characters that a SavedModel signature does not allow by "_".

    Example:
        >>> signature_name("a-b/c"), signature_name("0x")
        ('a_b_c', 'x0x')
    """
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return name if name[:1].isalpha() else f"x{name}"
