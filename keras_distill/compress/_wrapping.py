"""Which layers get which fake quantization, so that the int8 converter finds a range everywhere."""

from typing import Any

import numpy as np
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

# A kernel of at most this many values (and half as many as weights) counts as clustered.
_CLUSTERED = 256

# Activations for which tfmot's own setting of an Activation layer is right.
_ACTIVATIONS = ("relu", "swish", "gelu", "relu6", "linear", "softmax", "sigmoid", "tanh")

# Those that it takes as a part of a layer.
_INSIDE = ("linear", "relu", "swish", "gelu", "softmax", "sigmoid", "tanh")

_FOLDED = ("Conv2D", "DepthwiseConv2D", "Dense")


def is_pruned(kernel: np.ndarray) -> bool:
    """Whether so many weights are 0 that they were pruned."""
    return float((kernel == 0).mean()) >= PRUNED


def is_clustered(kernel: np.ndarray) -> bool:
    """Whether the weights that are not 0 have few values for their number."""
    rest = kernel[kernel != 0]
    return len(np.unique(rest)) <= min(_CLUSTERED, rest.size // 2)


class _Registry(registry.Default8BitQuantizeRegistry):
    """tfmot's settings; a pruned or clustered kernel gets the one that keeps it so.

    tfmot's own preserving registries share one quantizer among all layers, and the first layer
    without zeros switches the keeping of zeros off for the rest; here each layer has its own.
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
    """A flat twin wrapped in fake quantization; the twin must not be used afterwards.

    Args:
        twin: From `bridge.to_logits`, its separable convolutions split.
        preserve: Whether zeros and clusters of its kernels are kept.

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
    """The setting for a layer; None leaves it to tfmot."""
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
    """Refuses a layer that ends in an activation which tfmot knows only as a layer of its own."""
    if type(layer).__name__ not in _FOLDED or layer.activation.__name__ in _INSIDE:
        return
    raise refusal(
        layer.name,
        f"its activation {layer.activation.__name__!r} cannot be trained in fake quantization as"
        " a part of it",
        "Make it an Activation layer of its own, right behind.",
    )


def _is_folded(layer: Any) -> bool:
    """Whether a BatchNormalization comes right behind a layer that the converter folds it into."""
    before = layer.inbound_nodes[0].inbound_layers
    if isinstance(before, list) or type(before).__name__ not in _FOLDED:
        return False
    return len(before.outbound_nodes) == 1 and before.activation.__name__ == "linear"
