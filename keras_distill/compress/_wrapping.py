"""Adds fake quantization to each layer, so that the int8 converter finds a range everywhere."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras import quantize_scheme
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (  # noqa: E501
    cluster_preserve_quantize_registry as clusters,
)
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (  # noqa: E501
    prune_preserve_quantize_registry as pruning,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_configs as configs,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_layout_transform as layout,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_registry as registry,
)

from keras_distill.compress._kernels import PRUNED, kernel_of
from keras_distill.compress._layers import refusal

_API = tfmot.quantization.keras

# A kernel with at most this many values (and at most half as many as weights) counts as clustered.
_CLUSTERED = 256

# Activations for which tfmot's own settings of an Activation layer are correct.
_ACTIVATIONS = ("relu", "swish", "gelu", "relu6", "linear", "softmax", "sigmoid", "tanh")

# Activations that tfmot accepts as part of a layer.
_INSIDE = ("linear", "relu", "swish", "gelu", "softmax", "sigmoid", "tanh")

_FOLDED = ("Conv2D", "DepthwiseConv2D", "Dense")

# Constants of `start_ranges`.
_DECAY = 0.999  # decay of tfmot's moving average
_PASSES = 40
_MOVED = 0.02  # a range that changes by less than this fraction in a pass has converged

_RANGES = ("output", "post_activation", "pre_activation", "activation")


def is_pruned(kernel: np.ndarray) -> bool:
    """Returns whether a kernel has enough zeros to count as pruned."""
    return float((kernel == 0).mean()) >= PRUNED


def is_clustered(kernel: np.ndarray) -> bool:
    """Returns whether the nonzero weights have few distinct values relative to their number."""
    rest = kernel[kernel != 0]
    return len(np.unique(rest)) <= min(_CLUSTERED, rest.size // 2)


class _Registry(registry.Default8BitQuantizeRegistry):
    """tfmot's settings, but with those that preserve zeros or clusters of kernels that have them.

    The preserving registries of tfmot share one quantizer among all layers, and the first layer
    without zeros disables the preservation of zeros for all later layers. Here, each layer has its
    own quantizer.
    """

    def __init__(self, *, preserve: bool) -> None:
        super().__init__()
        self._preserve = preserve

    def get_quantize_config(self, layer: Any) -> Any:
        kernel = kernel_of(layer) if self._preserve else None
        if kernel is None or type(layer).__name__ not in ("Conv2D", "Dense"):
            return super().get_quantize_config(layer)
        pruned = is_pruned(kernel)
        if is_clustered(kernel):
            made = clusters.Default8bitClusterPreserveQuantizeRegistry(preserve_sparsity=pruned)
            return made.get_quantize_config(layer)
        if pruned:
            return pruning.Default8bitPrunePreserveQuantizeRegistry().get_quantize_config(layer)
        return super().get_quantize_config(layer)


class _Scheme(quantize_scheme.QuantizeScheme):
    def __init__(self, *, preserve: bool) -> None:
        self._preserve = preserve

    def get_layout_transformer(self) -> Any:
        return layout.Default8BitQuantizeLayoutTransform()

    def get_quantize_registry(self) -> Any:
        return _Registry(preserve=self._preserve)


def quantized(twin: Any, *, preserve: bool) -> Any:
    """Adds fake quantization to a flat twin. The twin must not be used afterward.

    Args:
        twin: From `bridge.to_logits`, with its separable convolutions split.
        preserve: Whether the zeros and clusters of its kernels are kept.

    Raises:
        InputError: If a layer cannot be trained in fake quantization.
    """
    supports = registry.Default8BitQuantizeRegistry().supports

    def annotate(layer: Any) -> Any:
        config = _config(layer, supports)
        return _API.quantize_annotate_layer(layer, config)

    annotated = tf_keras.models.clone_model(twin, clone_function=annotate)
    with _API.quantize_scope():
        return _API.quantize_apply(annotated, _Scheme(preserve=preserve))


def _config(layer: Any, supports: Any) -> Any:
    """Returns the quantization configuration of a layer; None to use tfmot's default."""
    name, kind = layer.name, type(layer).__name__
    if len(layer.inbound_nodes) > 1:
        raise refusal(name, "it is shared, and fake quantization knows one range per layer")
    if kind == "BatchNormalization":
        return None if _is_folded(layer) else configs.Default8BitOutputQuantizeConfig()
    if kind == "Activation" and layer.activation.__name__ not in _ACTIVATIONS:
        return configs.Default8BitOutputQuantizeConfig()
    if supports(layer):
        _check_activation(layer)
        return None
    if layer.weights:
        raise refusal(
            name,
            f"a {kind} layer cannot be trained in fake quantization",
            "Export the student with quantization='int8' instead, or 'dynamic'.",
        )
    return configs.Default8BitOutputQuantizeConfig()


def _check_activation(layer: Any) -> None:
    """Rejects a layer with an activation that tfmot supports only as a separate layer."""
    if type(layer).__name__ not in _FOLDED or layer.activation.__name__ in _INSIDE:
        return
    raise refusal(
        layer.name,
        f"its activation {layer.activation.__name__!r} cannot be trained in fake quantization as"
        " a part of it",
        "Make it a separate Activation layer after this one.",
    )


def _is_folded(layer: Any) -> bool:
    """Returns whether the converter folds this BatchNormalization into the layer before it."""
    before = layer.inbound_nodes[0].inbound_layers
    if isinstance(before, list) or type(before).__name__ not in _FOLDED:
        return False
    return len(before.outbound_nodes) == 1 and before.activation.__name__ == "linear"


def _edges(network: Any, prefixes: tuple[str, ...]) -> list[tuple[Any, Any]]:
    """Returns the (minimum, maximum) variables whose names have one of these prefixes."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for variable in network.weights:
        *scope, name = variable.name.split(":")[0].split("/")
        stem, _, edge = name.rpartition("_")
        if edge in ("min", "max") and stem in prefixes:
            found.setdefault(("/".join(scope), stem), {})[edge] = variable
    return [(pair["min"], pair["max"]) for pair in found.values()]


def start_ranges(network: Any, batches: Iterable[Any]) -> None:
    """Initializes the ranges of the input and of all activations from a few batches.

    tfmot initializes every activation range to -6..6 and moves it by a thousandth of the difference
    per step, and the input range never shrinks. In a short training, the ranges would therefore
    stay wrong.

    Each pass runs one batch and sets each activation range to the values in this batch. Ranges of
    later layers depend on ranges of earlier layers. The ranges of kernels are set too; all other
    variables are restored.

    Args:
        network: The wrapped twin.
        batches: Inputs in the flat structure of the twin. The input range uses all batches, the
            activation ranges only the first one.
    """
    batches = list(batches)
    _start_input(network, batches)
    pairs = _edges(network, _RANGES)
    kept = [
        (v, v.numpy())
        for v in network.variables
        if not v.name.split(":")[0].endswith(("_min", "_max"))
    ]
    for _ in range(_PASSES):
        before = [(low.numpy(), high.numpy()) for low, high in pairs]
        network(batches[0], training=True)
        moved = 0.0
        for (low, high), (old_low, old_high) in zip(pairs, before, strict=True):
            new_low = min(_seen(old_low, low.numpy()), 0.0)
            new_high = max(_seen(old_high, high.numpy()), 0.0, new_low + 1e-3)
            low.assign(new_low)
            high.assign(new_high)
            change = max(abs(new_low - old_low), abs(new_high - old_high))
            moved = max(moved, change / (new_high - new_low))
        for variable, value in kept:
            variable.assign(value)
        if moved < _MOVED:
            return


def _seen(old: np.ndarray, new: np.ndarray) -> float:
    """Computes the value that a moving average received, from its values before and after."""
    return float(np.float64(old) + (np.float64(new) - np.float64(old)) / (1 - _DECAY))


def _start_input(network: Any, batches: list[Any]) -> None:
    columns = list(zip(*(tf.nest.flatten(batch) for batch in batches), strict=True))
    layers = [layer for layer in network.layers if type(layer).__name__ == "QuantizeLayer"]
    for layer in layers:
        position = [tensor.name for tensor in tf.nest.flatten(network.inputs)].index(
            layer.input.name
        )
        low = min(float(tf.reduce_min(values)) for values in columns[position])
        high = max(float(tf.reduce_max(values)) for values in columns[position])
        for minimum, maximum in _edges(layer, ("quantize_layer",)):
            minimum.assign(min(low, 0.0))
            maximum.assign(max(high, 0.0))
