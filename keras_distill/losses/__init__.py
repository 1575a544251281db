"""Distillation losses: pure functions in `functional`, classes that carry their settings."""

from keras_distill.losses import functional
from keras_distill.losses._attention import AttentionTransferLoss
from keras_distill.losses._base import (
    PACKAGE,
    DistillationLoss,
    check_setting,
    deserialized,
    known_differ,
    serialized,
    value_at,
)
from keras_distill.losses._decoupled import DecoupledLoss
from keras_distill.losses._dist import DISTLoss
from keras_distill.losses._hint import HintLoss
from keras_distill.losses._logit_matching import LogitMatchingLoss
from keras_distill.losses._multi_label import MultiLabelSoftLoss
from keras_distill.losses._regression import RegressionLoss
from keras_distill.losses._relational import RelationalLoss
from keras_distill.losses._similarity import SimilarityLoss
from keras_distill.losses._soft_target import SoftTargetLoss
from keras_distill.losses._standardized import StandardizedSoftTargetLoss

__all__ = [
    "PACKAGE",
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
    "check_setting",
    "deserialized",
    "functional",
    "known_differ",
    "serialized",
    "value_at",
]
