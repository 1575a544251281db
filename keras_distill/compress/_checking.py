"""Whether a student can be compressed, found out before anything is trained."""

from collections.abc import Sequence

import keras

from keras_distill._internal import InputError
from keras_distill._internal._compression_steps import parse_steps
from keras_distill.compress import _bridge
from keras_distill.compress._fake_quant import FakeQuantModel
from keras_distill.compress._kernels import check_skip, kernels
from keras_distill.compress._objective import Objective


def check_student(student: keras.Model, steps: Sequence[str], *, skip: Sequence[str] = ()) -> None:
    """Refuses a student that cannot take the steps; trains nothing and changes nothing.

    Args:
        student: A functional or Sequential Keras 3 model; its weights do not matter.
        steps: As in `compress`.
        skip: As in `compress`.

    Raises:
        InputError: If a step is unknown, `skip` names no layer with a kernel, there is no kernel
            to prune or cluster, or a layer cannot cross the bridge or be trained in fake
            quantization.

    Example:
        >>> model = keras.Sequential([keras.Input((4, 3)), keras.layers.GRU(2, name="gru")])
        >>> check_student(model, ["quantize"])
        Traceback (most recent call last):
        keras_distill.InputError: Layer 'gru' cannot be compressed: a GRU layer cannot be \
trained in fake quantization. Export the student with quantization='int8' instead, or 'dynamic'.
    """
    kinds = {step.kind for step in parse_steps(steps)}
    check_skip(student, skip)
    if kinds & {"prune", "cluster"} and not any(kernels(student)):
        raise InputError(f"Model {student.name!r} has no kernel that could be pruned or clustered.")
    if "quantize" in kinds:
        FakeQuantModel(student)
    else:
        _bridge.to_logits(student, Objective(student, alpha=0).heads)
