"""keras_distill: from a big Keras 3 model to a small, fast, verified `.tflite` file.

Importing this package imports neither TensorFlow nor Keras: the public names are loaded on first
use. Import it before TensorFlow, so that oneDNN can be turned on (`_backend.prepare`).
"""

import importlib
from typing import Any

from keras_distill._internal import _backend

__version__ = "0.1.0"

# Public name -> the package that exports it; `__init__.pyi` says the same to type checkers.
_PUBLIC = {
    "Targets": "_internal._soft_targets",
    "TopK": "_internal._soft_targets",
    "export_tflite": "precision",
    "verify_tflite": "export",
    "ExportRecord": "records",
    "VerifyRecord": "records",
    "InputError": "_internal",
    "VerificationError": "_internal",
    "MissingExtraError": "_internal",
    "KerasDistillWarning": "_internal",
    "SoftTargetStore": "targets",
    "Augmentation": "data",
    "Distiller": "training",
    "load": "training",
    "LinearSchedule": "training",
    "CosineSchedule": "training",
    "StudentCheckpoint": "training",
    "TeacherEnsemble": "teachers",
    "CallableTeacher": "teachers",
    "TFLiteTeacher": "teachers",
    "SpecialistEnsemble": "specialists",
    "DistillationLoss": "losses",
    "SoftTargetLoss": "losses",
    "LogitMatchingLoss": "losses",
    "DecoupledLoss": "losses",
    "DISTLoss": "losses",
    "StandardizedSoftTargetLoss": "losses",
    "HintLoss": "losses",
    "AttentionTransferLoss": "losses",
    "SimilarityLoss": "losses",
    "RelationalLoss": "losses",
    "VariationalLoss": "losses",
    "ContrastiveLoss": "losses",
    "ReviewLoss": "losses",
    "SoftmaxRegressionLoss": "losses",
    "MultiLabelSoftLoss": "losses",
    "MultiLevelLoss": "losses",
    "MutualDistiller": "training",
    "JensenShannonLoss": "losses",
    "ReverseKLLoss": "losses",
    "RegressionLoss": "losses",
    "Agreement": "metrics",
}

# Folders with functions of their own: `keras_distill.data.load("digits")`. `shrink` can also be
# called itself.
_FOLDERS = (
    "benchmarks",
    "compress",
    "data",
    "device",
    "losses",
    "metrics",
    "models",
    "shrink",
    "specialists",
    "teachers",
)

__all__ = ["__version__", *_FOLDERS, *_PUBLIC]  # pyright: ignore[reportUnsupportedDunderAll]

_backend.prepare()


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'keras_distill' has no attribute {name!r}")
    _backend.check()
    if name in _FOLDERS:
        return importlib.import_module(f"keras_distill.{name}")
    value = getattr(importlib.import_module(f"keras_distill.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
