"""Prunes weights by magnitude during distillation."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

from keras_distill._internal import InputError, VerificationError, check_choice, check_number
from keras_distill._internal._compression_steps import SCHEDULES
from keras_distill.compress import _bridge
from keras_distill.compress._fit import Training, fit
from keras_distill.compress._kernels import KERNELS, check_skip, kernel_of, kernels
from keras_distill.models import walk_layers

_RAMP = 0.6  # fraction of all steps after which a polynomial schedule ends
_UPDATES = 50  # number of mask updates in that time
_SLACK = 0.01  # allowed error of the sparsity, from rounding and equal weights


def prune(
    student: keras.Model,
    data: Any,
    *,
    sparsity: float = 0.8,
    pruning_schedule: str = "polynomial",
    skip: Sequence[str] = (),
    **training: Any,
) -> keras.Model:
    """Sets the smallest weights of every kernel to zero while the student trains.

    In each kernel of a Dense, convolution (not depthwise), or embedding layer, the weights with the
    smallest magnitudes become zero and stay zero. A polynomial schedule increases the fraction of
    zeros s from that of the student (s₀) to `sparsity` (s₁) over the first 60 % of the steps,
    s = s₁ + (s₀ - s₁)·(1 - t)³. In the remaining steps, the other weights adapt. Source: Zhu and
    Gupta 2017 (arXiv:1710.01878), section 3. tensorflow-model-optimization does the pruning, on a
    tf_keras twin of the student.

    The file becomes smaller only if zeros are left out (by gzip, or by
    `export_tflite(sparse=True)` in float32). The `.tflite` file itself keeps its size and latency.

    Args:
        student: A trained functional or Sequential Keras 3 model. It is not changed.
        data: Batches of (x, y), where y are labels or `Targets`; a pair (x, y) of arrays; or a
            function that takes the number of the first epoch and returns batches. With a function,
            a resumed training sees the same data as an uninterrupted one.
        sparsity: Fraction of zeros in each kernel, between 0 and 1 (exclusive). For "2:4", it is
            always 0.5.
        pruning_schedule: "polynomial"; "constant" (all zeros at the first step); "2:4" (two zeros
            in every four consecutive input channels, for Dense and Conv2D kernels only).
        skip: Names of layers that are not pruned, such as the first or the last.
        **training: See `Training` and `TrainingSettings`: teacher, alpha, temperature, epochs,
            learning_rate, callbacks, validation_data, state, …

    Returns:
        A Keras 3 model with these zeros.

    Raises:
        InputError: If an argument is not valid, or the student cannot be converted to tf_keras.
        VerificationError: If the result has too few zeros.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> x, y = np.random.rand(64, 8).astype("float32"), np.random.randint(0, 4, 64)
        >>> pruned = prune(model, (x, y), sparsity=0.5, alpha=0, epochs=1, batch_size=8)
        >>> int((pruned.get_weights()[0] == 0).sum())
        16
    """
    return prune_logged(student, data, sparsity, pruning_schedule, skip, Training.of(**training))[0]


def prune_logged(
    student: keras.Model,
    data: Any,
    sparsity: float,
    pruning_schedule: str,
    skip: Sequence[str],
    training: Training,
) -> tuple[keras.Model, dict[str, Any]]:
    """Prunes as `prune` does, and also returns the logs of each epoch."""
    check_choice("pruning_schedule", pruning_schedule, SCHEDULES)
    check_number("sparsity", sparsity, above=0, at_most=0.999)
    objective = training.objective(student)
    twin = _bridge.to_logits(student, objective.heads)
    left = check_skip(student, skip)
    steps = training.settings.epochs * training.steps(data)
    options = _options(student, sparsity, pruning_schedule, steps)

    def wrap(layer: Any) -> Any:
        if type(layer).__name__ not in KERNELS or layer.name in left:
            return layer
        if pruning_schedule == "2:4" and len(layer.get_weights()[0].shape) not in (2, 4):
            return layer
        return tfmot.sparsity.keras.prune_low_magnitude(layer, **options)

    network = tf_keras.models.clone_model(twin, clone_function=wrap)
    update = tfmot.sparsity.keras.UpdatePruningStep()
    logs = fit(network, objective, student, data, training, [update])
    pruned = _bridge.to_keras(tfmot.sparsity.keras.strip_pruning(network), like=student)
    check_zeros(pruned, None if pruning_schedule == "2:4" else sparsity, skip)
    return pruned, logs


def _options(student: keras.Model, sparsity: float, schedule: str, steps: int) -> dict[str, Any]:
    """Returns the arguments of `prune_low_magnitude`. tfmot counts steps from 1."""
    found = list(kernels(student))
    if not found:
        raise InputError(f"Model {student.name!r} has no kernel that could be pruned.")
    api = tfmot.sparsity.keras
    if schedule == "2:4":
        return {
            "pruning_schedule": api.ConstantSparsity(0.5, begin_step=1),
            "sparsity_m_by_n": (2, 4),
        }
    ramp = int(_RAMP * steps)
    if schedule == "constant" or ramp < 2:
        return {"pruning_schedule": api.ConstantSparsity(sparsity, begin_step=1, frequency=1)}
    frequency = max(1, ramp // _UPDATES)
    decay = api.PolynomialDecay(
        initial_sparsity=min(sparsity, min(kernel.sparsity for kernel in found)),
        final_sparsity=sparsity,
        begin_step=1,
        # An update must coincide with the last step of the ramp, or the sparsity is never reached.
        end_step=1 + frequency * (ramp // frequency),
        frequency=frequency,
    )
    return {"pruning_schedule": decay}


def check_zeros(model: keras.Model, sparsity: float | None, skip: Sequence[str] = ()) -> None:
    """Checks that a model has the required zeros.

    Args:
        model: The pruned model.
        sparsity: Fraction of zeros in each kernel. If None, two in every four input channels.
        skip: Names of layers that were not pruned.

    Raises:
        VerificationError: If there are too few zeros. The message names the first such layer.
    """
    for path, layer in walk_layers(model):
        kernel = kernel_of(layer)
        if kernel is None or path in skip:
            continue
        zeros = int((kernel == 0).sum())
        if sparsity is None:
            enough, wanted = _is_two_of_four(kernel) or kernel.ndim not in (2, 4), "2:4"
        else:
            least = sparsity * kernel.size - max(1, _SLACK * kernel.size)
            enough, wanted = zeros >= min(least, kernel.size - 1), f"{sparsity:.1%}"
        if not enough:
            raise VerificationError(
                f"Layer {path!r} has {zeros / kernel.size:.1%} zeros after pruning, not {wanted}."
                " Train for more steps, or use pruning_schedule='constant'."
            )


def _is_two_of_four(kernel: np.ndarray) -> bool:
    """Returns whether two of every four input channels are 0; the last group is padded."""
    rows = np.moveaxis(kernel, -2, -1)
    rows = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, -rows.shape[-1] % 4)])
    return bool(((rows.reshape(-1, 4) == 0).sum(-1) >= 2).all())
