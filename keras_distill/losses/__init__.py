"""Distillation losses: pure functions in `functional`, classes that carry their settings."""

from keras_distill.losses import functional
from keras_distill.losses.base import DistillationLoss, value_at
from keras_distill.losses.soft_target import SoftTargetLoss

__all__ = ["DistillationLoss", "SoftTargetLoss", "functional", "value_at"]
