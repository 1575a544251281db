"""A Distiller on disk: everything but the teacher, and back."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill.training._distiller import Distiller


def load(
    path: str | os.PathLike,
    teacher: Any = None,
    *,
    teacher_preprocess: Callable[[Any], Any] | None = None,
    imports: Sequence[str] = (),
) -> Distiller:
    """Loads a Distiller that `save` or `ModelCheckpoint` wrote; `fit` goes on where it stopped.

    Weights, projectors, the optimizer with its state, the losses and metrics come from the file;
    the teacher never was in it. No code in the file is run (`models.load`).

    Args:
        path: The `.keras` file.
        teacher: As for `Distiller`; None when the data carry `Targets`.
        teacher_preprocess: As for `Distiller`.
        imports: Modules to import first, for the classes of yours that they register.

    Raises:
        InputError: If there is no such file, it is damaged, holds code or something else.

    Example:
        >>> import keras, tempfile
        >>> net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> file = tempfile.mkdtemp() + "/distiller.keras"
        >>> Distiller(net, net, alpha=0.5).save(file)
        >>> load(file, teacher=net).alpha
        0.5
    """
    distiller = models.load(path, imports=imports, compiled=True)
    if not isinstance(distiller, Distiller):
        raise InputError(
            f"{path}: holds a {type(distiller).__name__}, not a Distiller. Load a model with"
            " keras.saving.load_model, and give it to Distiller as student."
        )
    distiller.set_teacher(teacher, teacher_preprocess)
    return distiller
