"""The command line: `keras-distill VERB …`, one file per verb, each a `main(argv) -> int`."""

from keras_distill.cli._app import main

__all__ = ["main"]
