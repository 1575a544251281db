"""Configures TensorFlow before it is imported, and checks the Keras backend."""

import os
import sys
import warnings

from keras_distill._internal import InputError, KerasDistillWarning


def prepare() -> None:
    """Sets TensorFlow's environment variables, unless the user has set them.

    - A CPU without AVX-512 trains nearly twice as fast with oneDNN, which TensorFlow turns off
      there by default.
    - By default, TensorFlow reserves all memory of a GPU when it starts. With memory growth, it
      reserves only what it needs, so that several processes can share the GPU. TensorFlow prefers
      this variable to `tf.config.experimental.set_memory_growth`.

    The function is called when the package is imported. If TensorFlow has been imported before, it
    warns that oneDNN cannot be turned on anymore.
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
        InputError: If Keras, or KERAS_BACKEND as long as Keras is not imported, uses another one.
    """
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if "keras" in sys.modules:
        backend = sys.modules["keras"].config.backend()
    if backend != "tensorflow":
        raise InputError(
            f"keras_distill needs Keras on TensorFlow. Received: KERAS_BACKEND={backend}."
            " Unset KERAS_BACKEND or set it to tensorflow."
        )
