"""A Distiller on disk: everything but the teacher, and back."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_distill import _files
from keras_distill._checks import InputError
from keras_distill.training.distiller import Distiller


def load(
    path: str | os.PathLike,
    teacher: Any = None,
    *,
    teacher_preprocess: Callable[[Any], Any] | None = None,
) -> Distiller:
    """Loads a Distiller that `save` or `ModelCheckpoint` wrote; `fit` goes on where it stopped.

    Weights, projectors, the optimizer with its state, the losses and metrics come from the file;
    the teacher never was in it. Keras's safe mode stays on: no code in the file is run.

    Args:
        path: The `.keras` file.
        teacher: As for `Distiller`; None when the data carry `Targets`.
        teacher_preprocess: As for `Distiller`.

    Raises:
        InputError: If there is no such file, it is damaged, or it holds something else.

    Example:
        >>> import tempfile
        >>> net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> file = tempfile.mkdtemp() + "/distiller.keras"
        >>> Distiller(net, net, alpha=0.5).save(file)
        >>> load(file, teacher=net).alpha
        0.5
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise InputError(f"{path}: must be a .keras file.")
    _files.check_archive(path)
    try:
        distiller = keras.saving.load_model(path, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: Keras cannot load it: {reason:.300}") from error
    if not isinstance(distiller, Distiller):
        raise InputError(
            f"{path}: holds a {type(distiller).__name__}, not a Distiller. Load a model with"
            " keras.saving.load_model, and give it to Distiller as student."
        )
    distiller.set_teacher(teacher, teacher_preprocess)
    return distiller
