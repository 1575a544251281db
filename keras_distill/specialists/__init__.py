"""Generalist and specialists (Hinton 2015, section 5): clusters, dustbins, inference, training."""

from keras_distill.specialists._clustering import ClassSets, confusable_sets, random_sets
from keras_distill.specialists._ensemble import SpecialistEnsemble
from keras_distill.specialists._inference import (
    active_by_top,
    arithmetic_mean,
    combine,
    objective,
    solve,
)
from keras_distill.specialists._model import (
    BinnedTeacher,
    add_to_dustbin,
    build_specialist,
    dustbin_correction,
)
from keras_distill.specialists._stream import specialist_stream

__all__ = [
    "BinnedTeacher",
    "ClassSets",
    "SpecialistEnsemble",
    "active_by_top",
    "add_to_dustbin",
    "arithmetic_mean",
    "build_specialist",
    "combine",
    "confusable_sets",
    "dustbin_correction",
    "objective",
    "random_sets",
    "solve",
    "specialist_stream",
]
