"""The Distiller and what belongs to training."""

from keras_distill.training.distiller import Distiller

__all__ = ["Distiller"]
