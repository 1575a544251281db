"""Checks where a `.tflite` file can run: microcontrollers, Arm Ethos-U NPUs, and XNNPACK on a CPU.

Importing this package imports neither TensorFlow nor the optional runtimes. They are imported in
child processes, because a file may crash them.
"""

from keras_distill._internal._device_targets import TARGETS, parse_targets
from keras_distill.device._c_array import c_array
from keras_distill.device._check import (
    SAMPLES,
    check_device,
    check_installed,
    check_targets,
    spaced,
)
from keras_distill.device._snippets import snippets

__all__ = [
    "SAMPLES",
    "TARGETS",
    "c_array",
    "check_device",
    "check_installed",
    "check_targets",
    "parse_targets",
    "snippets",
    "spaced",
]
