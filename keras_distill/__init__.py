"""keras_distill: from a big Keras 3 model to a small, fast, verified `.tflite` file.

Importing this package imports neither TensorFlow nor Keras: the public names are loaded on first
use. Import it before TensorFlow, so that oneDNN can be switched on (`_backend.prepare`).
"""

import importlib

from keras_distill import _backend

__version__ = "0.1.0"

# Public name -> the module that defines it.
_PUBLIC = {
    "Targets": "_elements",
    "TopK": "_elements",
    "export_tflite": "export",
    "ExportRecord": "records",
    "InputError": "_checks",
    "GateError": "_checks",
    "MissingExtraError": "_checks",
    "SoftTargetStore": "targets.store",
    "Augmentation": "data.augment",
    "Distiller": "training.distiller",
    "load": "training.saving",
    "LinearSchedule": "training.schedules",
    "CosineSchedule": "training.schedules",
    "StudentCheckpoint": "training.callbacks",
    "TeacherEnsemble": "teachers.ensemble",
    "CallableTeacher": "teachers.callable_teacher",
    "TFLiteTeacher": "teachers.tflite",
    "SpecialistEnsemble": "specialists.ensemble",
    "DistillationLoss": "losses.base",
    "SoftTargetLoss": "losses.soft_target",
    "LogitMatchingLoss": "losses.logit_matching",
    "DecoupledLoss": "losses.decoupled",
    "DISTLoss": "losses.dist",
    "StandardizedSoftTargetLoss": "losses.standardized",
    "HintLoss": "losses.hint",
    "AttentionTransferLoss": "losses.attention",
    "SimilarityLoss": "losses.similarity",
    "RelationalLoss": "losses.relational",
    "MultiLabelSoftLoss": "losses.multi_label",
    "RegressionLoss": "losses.regression",
    "Agreement": "metrics.training_agreement",
}

# Folders with functions of their own: `keras_distill.data.load("digits")`.
_FOLDERS = (
    "benchmarks",
    "compress",
    "data",
    "losses",
    "metrics",
    "models",
    "specialists",
    "teachers",
)

__all__ = ["__version__", *_FOLDERS, *_PUBLIC]

_backend.prepare()


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module 'keras_distill' has no attribute {name!r}")
    _backend.check()
    if name in _FOLDERS:
        return importlib.import_module(f"keras_distill.{name}")
    value = getattr(importlib.import_module(f"keras_distill.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
