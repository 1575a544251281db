"""The command line `keras-distill`: one file per verb, each with a `main(argv) -> int`."""

from keras_distill.cli._app import main

__all__ = ["main"]
