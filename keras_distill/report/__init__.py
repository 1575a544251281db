"""Makes self-contained HTML pages from records. Needs no TensorFlow."""

from keras_distill.report._page import render, write
from keras_distill.report._specialists import (
    render_specialists,
    specialists_table,
    write_specialists,
)

__all__ = ["render", "render_specialists", "specialists_table", "write", "write_specialists"]
