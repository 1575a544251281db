"""Keras's own callbacks work on a Distiller as on any model; this one keeps the student alone."""

from typing import Any

import keras


class StudentCheckpoint(keras.callbacks.ModelCheckpoint):
    """`ModelCheckpoint` of the student: a plain Keras model, without optimizer and projectors.

    Arguments and file names are `keras.callbacks.ModelCheckpoint`'s. To go on training later, keep
    the whole Distiller with `ModelCheckpoint` instead, and read it with `keras_distill.load`.

    Example:
        >>> StudentCheckpoint("best.keras", monitor="val_loss", save_best_only=True).monitor
        'val_loss'
    """

    def set_model(self, model: Any) -> None:
        """Takes the Distiller that trains, keeps its student."""
        super().set_model(model.student)
