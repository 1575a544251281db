"""Loads a Distiller, and saves only the student during training."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill._internal._probabilities import Declared
from keras_distill._internal._types import PathLike
from keras_distill.training._distiller import Distiller


class StudentCheckpoint(keras.callbacks.ModelCheckpoint):
    """Saves checkpoints of the student: a plain Keras model, without optimizer and projectors.

    Arguments and file names are those of `keras.callbacks.ModelCheckpoint`. To resume training
    later, save the whole Distiller with `ModelCheckpoint` instead, and load it with
    `keras_distill.load`.

    Example:
        >>> StudentCheckpoint("best.keras", monitor="val_loss", save_best_only=True).monitor
        'val_loss'
    """

    def set_model(self, model: Distiller) -> None:
        """Sets the Distiller whose student is saved."""
        super().set_model(model.student)


def load(
    path: PathLike,
    teacher: Any = None,
    *,
    from_probabilities: Declared = None,
    teacher_preprocess: Callable[[Any], Any] | None = None,
    imports: Sequence[str] = (),
) -> Distiller:
    """Loads a Distiller that `save` or `ModelCheckpoint` wrote; `fit` then resumes its training.

    The file contains the weights, the projectors, the optimizer with its state, the losses, and the
    metrics, but never the teacher. No code in the file is run (`models.load`).

    Args:
        path: The `.keras` file.
        teacher: As for `Distiller`; None if the data contain `Targets`.
        from_probabilities: As for `Distiller`.
        teacher_preprocess: As for `Distiller`.
        imports: Modules to import first, which register your custom classes.

    Raises:
        InputError: If the file does not exist, is damaged, holds code, or is not a Distiller.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> file = tempfile.mkdtemp() + "/distiller.keras"
        >>> Distiller(model, model, alpha=0.5).save(file)
        >>> load(file, teacher=model).alpha
        0.5
    """
    distiller = models.load(path, imports=imports, compiled=True)
    if not isinstance(distiller, Distiller):
        raise InputError(
            f"{path}: holds a {type(distiller).__name__}, not a Distiller. Load a model with"
            " keras.saving.load_model, and give it to Distiller as student."
        )
    distiller.set_teacher(teacher, teacher_preprocess, from_probabilities=from_probabilities)
    return distiller
