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

if TYPE_CHECKING:
    from keras_distill.metrics._training_agreement import Agreement

__all__ = [
    "Agreement",
    "BetterScaling",
    "ClassRows",
    "Evidence",
    "Task",
    "accuracy",
    "agreement",
    "better_scaling",
    "calibration_temperature",
    "class_rows",
    "constant_accuracy",
    "expected_calibration_error",
    "is_near_chance",
    "label_ids",
    "logit_rows",
    "negative_log_likelihood",
    "of_activation",
    "of_labels",
    "of_loss",
    "read_task",
    "settle",
    "top_k_accuracy",
    "yes_or_no",
]


def __getattr__(name: str) -> Any:
    if name != "Agreement":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("keras_distill.metrics._training_agreement").Agreement
