"""The Distiller and what belongs to training."""

from keras_distill.training._callbacks import StudentCheckpoint
from keras_distill.training._distiller import Distiller
from keras_distill.training._optimizer import make_optimizer
from keras_distill.training._saving import load
from keras_distill.training._schedules import CosineSchedule, LinearSchedule

__all__ = [
    "CosineSchedule",
    "Distiller",
    "LinearSchedule",
    "StudentCheckpoint",
    "load",
    "make_optimizer",
]
