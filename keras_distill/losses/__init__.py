"""Distillation losses: pure functions in `functional`, classes that carry their settings.

To add a loss: write its function (in `functional`, or in `_features` if it compares inner layers),
and a class in `_logit_losses` or `_feature_losses` that calls it. T² is applied in
`_logspace.rescaled` only.
"""

from keras_distill.losses import functional
from keras_distill.losses._base import DistillationLoss, known_differ
from keras_distill.losses._feature_losses import (
    AttentionTransferLoss,
    HintLoss,
    RelationalLoss,
    SimilarityLoss,
)
from keras_distill.losses._logit_losses import (
    DecoupledLoss,
    DISTLoss,
    LogitMatchingLoss,
    MultiLabelSoftLoss,
    RegressionLoss,
    SoftTargetLoss,
    StandardizedSoftTargetLoss,
)
from keras_distill.losses._settings import (
    PACKAGE,
    check_setting,
    deserialized,
    serialized,
    value_at,
)

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
