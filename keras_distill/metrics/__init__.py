"""Measures the quality of logits: NumPy functions, and the Keras metric `Agreement`.

Importing this package does not import TensorFlow, so that `.tflite` files can be evaluated without
it: `Agreement` loads on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from keras_distill.metrics._class_rows import ClassRows, class_rows, label_ids, logit_rows
from keras_distill.metrics._input_range import (
    BetterScaling,
    better_scaling,
    constant_accuracy,
    is_near_chance,
)
from keras_distill.metrics._logits import as_logits
from keras_distill.metrics._measures import (
    area_under_curve,
    class_overlaps,
    explained_variance,
    mean_absolute_error,
    mean_overlap,
    reconstruction_errors,
)
from keras_distill.metrics._quality import (
    accuracy,
    agreement,
    calibration_temperature,
    expected_calibration_error,
    negative_log_likelihood,
    top_k_accuracy,
)
from keras_distill.metrics._task import (
    Evidence,
    Task,
    of_activation,
    of_labels,
    of_loss,
    read_task,
    settle,
    yes_or_no,
)
from keras_distill.metrics._truth import ClassScore, Metric, Truth, truth_of

if TYPE_CHECKING:
    from keras_distill.metrics._training_agreement import Agreement

__all__ = [
    "Agreement",
    "BetterScaling",
    "ClassRows",
    "ClassScore",
    "Evidence",
    "Metric",
    "Task",
    "Truth",
    "accuracy",
    "agreement",
    "area_under_curve",
    "as_logits",
    "better_scaling",
    "calibration_temperature",
    "class_overlaps",
    "class_rows",
    "constant_accuracy",
    "expected_calibration_error",
    "explained_variance",
    "is_near_chance",
    "label_ids",
    "logit_rows",
    "mean_absolute_error",
    "mean_overlap",
    "negative_log_likelihood",
    "of_activation",
    "of_labels",
    "of_loss",
    "read_task",
    "reconstruction_errors",
    "settle",
    "top_k_accuracy",
    "truth_of",
    "yes_or_no",
]


def __getattr__(name: str) -> Any:
    if name != "Agreement":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("keras_distill.metrics._training_agreement").Agreement
