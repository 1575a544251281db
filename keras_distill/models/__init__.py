"""Builds, loads, saves, and inspects Keras models.

A spec string names a model of a family, which takes raw values and returns logits. The table of
families is `FAMILIES` in `_build.py`. Each family is one class in a file of its own. To add a
family, write such a class (a subclass of `Family`) and add a line to the table.
"""

from keras_distill.models._build import (
    build,
    check_fits,
    families,
    is_file,
    logit_shapes,
    parse,
    seeded,
)
from keras_distill.models._copy_weights import copy_weights
from keras_distill.models._file_kinds import (
    ENSEMBLE,
    KERAS,
    SAVED_MODEL,
    TEACHERS,
    TFLITE,
    ModelFile,
    model_file,
)
from keras_distill.models._graph import follow, has_graph, random_inputs
from keras_distill.models._inspection import fingerprint, rows_at_once, walk_layers
from keras_distill.models._load import load
from keras_distill.models._precision import trained_as, with_precision
from keras_distill.models._pretrained import load_pretrained
from keras_distill.models._registration import check_registered
from keras_distill.models._save import save, save_uncompiled
from keras_distill.models._saved_model import SavedModel

__all__ = [
    "ENSEMBLE",
    "KERAS",
    "SAVED_MODEL",
    "TEACHERS",
    "TFLITE",
    "ModelFile",
    "SavedModel",
    "build",
    "check_fits",
    "check_registered",
    "copy_weights",
    "families",
    "fingerprint",
    "follow",
    "has_graph",
    "is_file",
    "load",
    "load_pretrained",
    "logit_shapes",
    "model_file",
    "parse",
    "random_inputs",
    "rows_at_once",
    "save",
    "save_uncompiled",
    "seeded",
    "trained_as",
    "walk_layers",
    "with_precision",
]
