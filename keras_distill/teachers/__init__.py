"""Anything that yields logits: Keras models, ensembles, .tflite files, functions."""

from keras_distill.teachers._base import Teacher
from keras_distill.teachers._callable_teacher import CallableTeacher
from keras_distill.teachers._ensemble import TeacherEnsemble
from keras_distill.teachers._heads import find_heads, look_like_probabilities
from keras_distill.teachers._keras_teacher import KerasTeacher
from keras_distill.teachers._source import as_teacher
from keras_distill.teachers._tflite import TFLiteTeacher

__all__ = [
    "CallableTeacher",
    "KerasTeacher",
    "TFLiteTeacher",
    "Teacher",
    "TeacherEnsemble",
    "as_teacher",
    "find_heads",
    "look_like_probabilities",
]
