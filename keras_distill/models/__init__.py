"""Plain Keras models named by spec strings: raw values in, logits out."""

from keras_distill.models.build import build, families, parse

__all__ = ["build", "families", "parse"]
