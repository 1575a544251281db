"""Trains a generalist and specialists, and combines them (Hinton 2015, section 5)."""

from keras_distill.specialists._build import (
    BinnedTeacher,
    add_to_dustbin,
    build_specialist,
    dustbin_correction,
)
from keras_distill.specialists._class_sets import ClassSets, confusable_sets, random_sets
from keras_distill.specialists._distill import distill
from keras_distill.specialists._ensemble import SpecialistEnsemble
from keras_distill.specialists._evaluation import (
    EnsembleOutputs,
    class_rows,
    coverage_rows,
    evaluate_system,
)
from keras_distill.specialists._inference import (
    active_by_top,
    arithmetic_mean,
    combine,
    objective,
    solve,
)
from keras_distill.specialists._report import class_images, evaluate
from keras_distill.specialists._stream import specialist_stream
from keras_distill.specialists._training import predictions, train, train_specialist

__all__ = [
    "BinnedTeacher",
    "ClassSets",
    "EnsembleOutputs",
    "SpecialistEnsemble",
    "active_by_top",
    "add_to_dustbin",
    "arithmetic_mean",
    "build_specialist",
    "class_images",
    "class_rows",
    "combine",
    "confusable_sets",
    "coverage_rows",
    "distill",
    "dustbin_correction",
    "evaluate",
    "evaluate_system",
    "objective",
    "predictions",
    "random_sets",
    "solve",
    "specialist_stream",
    "train",
    "train_specialist",
]
