"""The Distiller, schedules, and the code that other trainers share with it.

`compress` trains a tf_keras model with the same loss terms: it uses the names that start at
`SoftTerms` in the list below.
"""

from keras_distill.training._batch import Labeled, labeled_batch, soft_batches
from keras_distill.training._checks import (
    DEFAULT_TEMPERATURE,
    check_alpha,
    check_shapes,
    soft_terms,
)
from keras_distill.training._classifier import compile_classifier, ending_of, rounds_of
from keras_distill.training._default_loss import check_from_logits, defaults
from keras_distill.training._distiller import Distiller
from keras_distill.training._label_smoothing import SmoothedCrossentropy
from keras_distill.training._mutual import MutualDistiller
from keras_distill.training._optimizer import make_optimizer
from keras_distill.training._sample_weights import align, is_sparse
from keras_distill.training._saving import StudentCheckpoint, load
from keras_distill.training._schedules import Adjustable, CosineSchedule, LinearSchedule
from keras_distill.training._stack import StackedStudents, can_be_stacked
from keras_distill.training._task import Known, certain, default_losses, read_tasks
from keras_distill.training._terms import SoftTerms, View, mixed, split
from keras_distill.training._views import TeacherSource, match_units, student_view

__all__ = [
    "DEFAULT_TEMPERATURE",
    "Adjustable",
    "CosineSchedule",
    "Distiller",
    "Known",
    "Labeled",
    "LinearSchedule",
    "MutualDistiller",
    "SmoothedCrossentropy",
    "SoftTerms",
    "StackedStudents",
    "StudentCheckpoint",
    "TeacherSource",
    "View",
    "align",
    "can_be_stacked",
    "certain",
    "check_alpha",
    "check_from_logits",
    "check_shapes",
    "compile_classifier",
    "default_losses",
    "defaults",
    "ending_of",
    "is_sparse",
    "labeled_batch",
    "load",
    "make_optimizer",
    "match_units",
    "mixed",
    "read_tasks",
    "rounds_of",
    "soft_batches",
    "soft_terms",
    "split",
    "student_view",
]
