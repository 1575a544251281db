"""From what the user names to a source."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill.export._saved_model import SavedModelSource
from keras_distill.export._sources import KerasSource, Source
from keras_distill.training import Distiller


def resolve(model: Any, *, imports: Sequence[str] = ()) -> Source:
    """The source behind a model.

    Args:
        model: A Keras model, a Distiller (its student is meant), the path of a `.keras` file or of
            a SavedModel folder, or a source.
        imports: Modules that register custom layers of a `.keras` file.

    Raises:
        InputError: If it is none of these, or cannot be loaded.
    """
    if isinstance(model, KerasSource | SavedModelSource):
        return model
    if isinstance(model, Distiller):
        return KerasSource(model.student)
    if isinstance(model, keras.Model):
        return KerasSource(model)
    if isinstance(model, str | os.PathLike):
        if Path(model).is_dir():
            return SavedModelSource(model)
        return KerasSource(models.load(model, imports=imports))
    raise InputError(
        "`model` must be a Keras model, a .keras file, a SavedModel folder or a Distiller."
        f" Received: {type(model).__name__}"
    )
