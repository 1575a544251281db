"""Sets up TensorFlow before it is imported, and checks the Keras backend."""

import os
import sys
import warnings

from keras_distill._internal import InputError, KerasDistillWarning


def prepare() -> None:
    """Sets TensorFlow's environment variables, unless the user has set them.

    - A CPU without AVX-512 trains nearly twice as fast with oneDNN, which TensorFlow turns off
      there by default.
    - By default, TensorFlow takes all memory of a GPU when it starts. It takes what it needs
      instead, so that the processes of a sweep, or a notebook beside a run, can share the GPU.

    Called when the package is imported; warns once if TensorFlow came first.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if "TF_ENABLE_ONEDNN_OPTS" in os.environ:
        return
    if "tensorflow" in sys.modules:
        warnings.warn(
            "keras_distill was imported after TensorFlow, too late to turn oneDNN on: training"
            " may take twice as long on this CPU. Import keras_distill first, or set"
            " TF_ENABLE_ONEDNN_OPTS=1.",
            KerasDistillWarning,
            stacklevel=3,
        )
    else:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"


def check() -> None:
    """Rejects a Keras backend other than TensorFlow.

    Raises:
        InputError: If KERAS_BACKEND, or Keras if it is imported already, names another one.
    """
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if "keras" in sys.modules:
        backend = sys.modules["keras"].config.backend()
    if backend != "tensorflow":
        raise InputError(
            f"keras_distill needs Keras on TensorFlow. Received: KERAS_BACKEND={backend}."
            " Unset KERAS_BACKEND or set it to tensorflow."
        )
