"""One door for everything that can teach."""

import os
from pathlib import Path
from typing import Any

import keras

from keras_distill import models
from keras_distill._internal import bad
from keras_distill.teachers._base import Teacher
from keras_distill.teachers._callable_teacher import CallableTeacher
from keras_distill.teachers._ensemble import SETTINGS, TeacherEnsemble
from keras_distill.teachers._keras_teacher import KerasTeacher
from keras_distill.teachers._tflite import TFLiteTeacher


def as_teacher(source: Any) -> Teacher:
    """Returns `source` as a `Teacher`.

    Args:
        source: A `Teacher`; a Keras 3 model; a list of sources (their geometric mean); the path of
            a .keras or .tflite file or of a saved ensemble; or a function from a NumPy batch to
            logits.

    Raises:
        InputError: If it is none of these.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> type(as_teacher([model, model])).__name__
        'TeacherEnsemble'
    """
    if isinstance(source, Teacher):
        return source
    if isinstance(source, keras.Model):
        return KerasTeacher(source)
    if isinstance(source, list | tuple):
        return TeacherEnsemble(source)
    if isinstance(source, str | os.PathLike):
        suffix = Path(source).suffix
        if (Path(source) / SETTINGS).is_file():
            return TeacherEnsemble.load(source)
        if suffix == ".keras":
            return KerasTeacher(models.load(source))
        if suffix == ".tflite":
            return TFLiteTeacher(source)
        raise bad(
            "teacher",
            "be the path of a .keras or .tflite file, or of a saved ensemble",
            str(source),
        )
    if callable(source) and not isinstance(source, type):
        return CallableTeacher(source)
    raise bad(
        "teacher",
        "be a Keras 3 model, a list of them, a Teacher, a .keras or .tflite file, or a function",
        source,
    )
