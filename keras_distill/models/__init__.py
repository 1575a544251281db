"""Plain Keras models named by spec strings: raw values in, logits out."""

from keras_distill.models._build import KerasFile, build, check_fits, families, parse, seeded
from keras_distill.models._inspection import fingerprint, walk_layers
from keras_distill.models._load import load

__all__ = [
    "KerasFile",
    "build",
    "check_fits",
    "families",
    "fingerprint",
    "load",
    "parse",
    "seeded",
    "walk_layers",
]
