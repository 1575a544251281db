"""Anything that yields logits: Keras models, ensembles, .tflite files, functions."""

from keras_distill.teachers.base import Teacher
from keras_distill.teachers.callable_teacher import CallableTeacher
from keras_distill.teachers.ensemble import TeacherEnsemble
from keras_distill.teachers.keras_teacher import KerasTeacher
from keras_distill.teachers.source import as_teacher
from keras_distill.teachers.tflite import TFLiteTeacher

__all__ = [
    "CallableTeacher",
    "KerasTeacher",
    "TFLiteTeacher",
    "Teacher",
    "TeacherEnsemble",
    "as_teacher",
]
