"""Teachers: all sources of logits (Keras models, ensembles, .tflite files, functions)."""

from keras_distill._internal._probabilities import (
    are_probabilities,
    look_like_probabilities,
    probabilities_to_logits,
)
from keras_distill.teachers._adapted import AdaptedTeacher
from keras_distill.teachers._base import Teacher
from keras_distill.teachers._callable_teacher import CallableTeacher
from keras_distill.teachers._class_map import ClassMap, read_classes
from keras_distill.teachers._declaration import Declaration
from keras_distill.teachers._ensemble import TeacherEnsemble, as_teacher
from keras_distill.teachers._heads import Head, find_heads
from keras_distill.teachers._keras_teacher import KerasTeacher
from keras_distill.teachers._outputs import (
    ONLY,
    like_outputs,
    match_outputs,
    outputs_by_name,
    plain_outputs,
)
from keras_distill.teachers._reader import ModelReader
from keras_distill.teachers._saved_model import SavedModelTeacher
from keras_distill.teachers._tflite import TFLiteTeacher

__all__ = [
    "ONLY",
    "AdaptedTeacher",
    "CallableTeacher",
    "ClassMap",
    "Declaration",
    "Head",
    "KerasTeacher",
    "ModelReader",
    "SavedModelTeacher",
    "TFLiteTeacher",
    "Teacher",
    "TeacherEnsemble",
    "are_probabilities",
    "as_teacher",
    "find_heads",
    "like_outputs",
    "look_like_probabilities",
    "match_outputs",
    "outputs_by_name",
    "plain_outputs",
    "probabilities_to_logits",
    "read_classes",
]
