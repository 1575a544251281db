"""Magnitude pruning while distilling."""

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

_RAMP = 0.6  # of all steps, in which a polynomial schedule reaches its end
_UPDATES = 50  # of the masks in that time
_SLACK = 0.01  # of the kernel, by which rounding and equal weights may miss the sparsity


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

    Zeros are chosen by magnitude within each kernel of a Dense, convolution (not depthwise) or
    embedding layer, and stay zero. A polynomial schedule raises the share s from the one the
    student has (s₀) to `sparsity` (s₁) over the first 60 % of the steps,
    s = s₁ + (s₀ - s₁)·(1 - t)³, and then lets the rest recover. Source: Zhu and Gupta 2017
    (arXiv:1710.01878), section 3; tensorflow-model-optimization does the pruning, on a tf_keras
    twin of the student.

    The file size falls only where zeros are left out (gzip, or `export_tflite(sparse=True)` in
    float32); the .tflite itself keeps its size, and its latency.

    Args:
        student: A trained functional or Sequential Keras 3 model. It is not changed.
        data: Batches of (x, y), y labels or `Targets`; a pair (x, y) of arrays; or a function
            from the number of the first epoch to batches, with which a resumed training sees
            the same as an uninterrupted one.
        sparsity: Share of zeros in each kernel, 0..1 (excluded). "2:4" has 0.5 by definition.
        pruning_schedule: "polynomial"; "constant" (all at once at the first step); "2:4" (two zeros
            in every four consecutive input channels, Dense and Conv2D kernels only).
        skip: Names of layers to leave dense, such as the first or the last.
        **training: See `Training` and `TrainingSettings`: teacher, alpha, temperature, epochs,
            learning_rate, callbacks, validation_data, state, …

    Returns:
        A plain Keras 3 model with its zeros.

    Raises:
        InputError: If an argument breaks its rule or the student cannot cross the bridge.
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
    """Prunes as `prune` does; returns the logs of each epoch too."""
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
        # An update must fall on the last step of the ramp, or the end is never reached.
        end_step=1 + frequency * (ramp // frequency),
        frequency=frequency,
    )
    return {"pruning_schedule": decay}


def check_zeros(model: keras.Model, sparsity: float | None, skip: Sequence[str] = ()) -> None:
    """Refuses a model with fewer zeros than required.

    Args:
        model: The pruned model.
        sparsity: Share of zeros in each kernel; None: two in every four input channels.
        skip: Layers that were left dense.

    Raises:
        VerificationError: Names the first layer with too few zeros.
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
    """Tells whether two of every four input channels are 0; the last group is padded."""
    rows = np.moveaxis(kernel, -2, -1)
    rows = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, -rows.shape[-1] % 4)])
    return bool(((rows.reshape(-1, 4) == 0).sum(-1) >= 2).all())
