"""Distillation losses: pure functions in `functional`, and classes that store their settings.

To add a loss: write its function in the file of its family (`_divergences`, `_relations`,
`_features`, `_feature_relations`, or `functional`), export it from `functional`, and write a class
that calls it in `_logit_losses`, `_relation_losses`, or `_feature_losses`. A loss that always
trains its own layer (`_projectors`) goes into `_trained_losses`. T² is applied in
`_temperature.rescaled` only.
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
    JensenShannonLoss,
    LogitMatchingLoss,
    MultiLabelSoftLoss,
    RegressionLoss,
    ReverseKLLoss,
    SoftTargetLoss,
    StandardizedSoftTargetLoss,
)
from keras_distill.losses._relation_losses import DISTLoss, MultiLevelLoss
from keras_distill.losses._settings import (
    PACKAGE,
    check_setting,
    deserialized,
    serialized,
    value_at,
)
from keras_distill.losses._trained_losses import (
    ContrastiveLoss,
    ReviewLoss,
    SoftmaxRegressionLoss,
    VariationalLoss,
)

__all__ = [
    "PACKAGE",
    "AttentionTransferLoss",
    "ContrastiveLoss",
    "DISTLoss",
    "DecoupledLoss",
    "DistillationLoss",
    "HintLoss",
    "JensenShannonLoss",
    "LogitMatchingLoss",
    "MultiLabelSoftLoss",
    "MultiLevelLoss",
    "RegressionLoss",
    "RelationalLoss",
    "ReverseKLLoss",
    "ReviewLoss",
    "SimilarityLoss",
    "SoftTargetLoss",
    "SoftmaxRegressionLoss",
    "StandardizedSoftTargetLoss",
    "VariationalLoss",
    "check_setting",
    "deserialized",
    "functional",
    "known_differ",
    "serialized",
    "value_at",
]
