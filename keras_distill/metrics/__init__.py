"""Quality of logits: plain NumPy functions; the Keras metric is `training_agreement.Agreement`.

Importing this package imports no TensorFlow, so that a `.tflite` file can be judged without it.
"""

from keras_distill.metrics._quality import (
    accuracy,
    agreement,
    calibration_temperature,
    expected_calibration_error,
    negative_log_likelihood,
    top_k_accuracy,
)

__all__ = [
    "accuracy",
    "agreement",
    "calibration_temperature",
    "expected_calibration_error",
    "negative_log_likelihood",
    "top_k_accuracy",
]
