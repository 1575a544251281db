"""Runs work that can be interrupted and resumed: folders, training state, and independent jobs."""

import importlib
from typing import TYPE_CHECKING, Any

from keras_distill.work._folder import FolderLock, WorkFolder, remove_lock, settle
from keras_distill.work._state import TrainingState
from keras_distill.work.jobs import (
    BACKENDS,
    Job,
    JobPool,
    finished_job,
    job_failures,
    run_jobs,
)

if TYPE_CHECKING:
    from keras_distill.work._resumable_fit import (
        STEPS_PER_EXECUTION,
        Ending,
        Progress,
        Rounds,
        fit_resumable,
        steps_per_execution,
        training_variables,
    )
    from keras_distill.work._steps import ReportSteps

__all__ = [
    "BACKENDS",
    "STEPS_PER_EXECUTION",
    "Ending",
    "FolderLock",
    "Job",
    "JobPool",
    "Progress",
    "ReportSteps",
    "Rounds",
    "TrainingState",
    "WorkFolder",
    "finished_job",
    "fit_resumable",
    "job_failures",
    "remove_lock",
    "run_jobs",
    "settle",
    "steps_per_execution",
    "training_variables",
]

# These import Keras, which not every process of a job needs.
_TRAINING = (
    "Ending",
    "Progress",
    "Rounds",
    "STEPS_PER_EXECUTION",
    "fit_resumable",
    "steps_per_execution",
    "training_variables",
)


def __getattr__(name: str) -> Any:
    if name == "ReportSteps":
        return importlib.import_module("keras_distill.work._steps").ReportSteps
    if name in _TRAINING:
        return getattr(importlib.import_module("keras_distill.work._resumable_fit"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
