"""The Distiller and what belongs to training."""

from keras_distill.training.callbacks import StudentCheckpoint
from keras_distill.training.distiller import Distiller
from keras_distill.training.saving import load
from keras_distill.training.schedules import CosineSchedule, LinearSchedule

__all__ = ["CosineSchedule", "Distiller", "LinearSchedule", "StudentCheckpoint", "load"]
