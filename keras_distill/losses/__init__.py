"""Distillation losses: pure functions in `functional`, classes that carry their settings."""

from keras_distill.losses import functional
from keras_distill.losses.attention import AttentionTransferLoss
from keras_distill.losses.base import DistillationLoss, value_at
from keras_distill.losses.decoupled import DecoupledLoss
from keras_distill.losses.dist import DISTLoss
from keras_distill.losses.hint import HintLoss
from keras_distill.losses.logit_matching import LogitMatchingLoss
from keras_distill.losses.multi_label import MultiLabelSoftLoss
from keras_distill.losses.regression import RegressionLoss
from keras_distill.losses.relational import RelationalLoss
from keras_distill.losses.similarity import SimilarityLoss
from keras_distill.losses.soft_target import SoftTargetLoss
from keras_distill.losses.standardized import StandardizedSoftTargetLoss

__all__ = [
    "AttentionTransferLoss",
    "DISTLoss",
    "DecoupledLoss",
    "DistillationLoss",
    "HintLoss",
    "LogitMatchingLoss",
    "MultiLabelSoftLoss",
    "RegressionLoss",
    "RelationalLoss",
    "SimilarityLoss",
    "SoftTargetLoss",
    "StandardizedSoftTargetLoss",
    "functional",
    "value_at",
]
