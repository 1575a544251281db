"""Logits of a model that ends in softmax or sigmoid, exactly and without touching the model.

Keras's TensorFlow backend stores the input of every softmax and sigmoid on its output tensor, for
its own cross-entropy. `logits_of` reads it, so one pass gives the probabilities and their logits,
whether the activation is fused into the last Dense or Conv, a layer of its own, or inside a nested
model. `find_heads` reads from the graph which of these the model has.
"""

import dataclasses
from typing import Any

import keras

from keras_distill._internal import InputError
from keras_distill._internal import _keras_private as private

_FUSED = (
    keras.layers.Activation,
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)
# Keras's functions of these names, in keras.activations and keras.ops. Other functions are checked
# with the first batch.
_KINDS = {
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "hard_sigmoid": "stuck",
    "sparse_sigmoid": "stuck",
    "sparsemax": "stuck",
}
_VALUES = {
    "linear",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "glu",
    "silu",
    "swish",
    "hard_silu",
    "hard_swish",
    "tanh",
    "hard_tanh",
    "tanh_shrink",
    "hard_shrink",
    "soft_shrink",
    "softplus",
    "sparse_plus",
    "softsign",
    "squareplus",
    "threshold",
    "mish",
    "exponential",
    "log_softmax",
    "log_sigmoid",
}
_PROBABILITIES = ("softmax", "sigmoid", "stuck")
_OPS = {
    "Softmax": "softmax",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "stuck",
    "SparseSigmoid": "stuck",
    "Sparsemax": "stuck",
}
_LOGARITHMS = ("Log", "LogSoftmax", "LogSigmoid")


@dataclasses.dataclass(frozen=True)
class Head:
    """The last activation of a model's output.

    Attributes:
        kind: "linear" (the output is logits), "softmax" or "sigmoid" (removed exactly), "stuck"
            (probabilities, changed after their activation), "removed" (softmax or sigmoid, removed
            exactly), "unknown" (a custom layer or model).
        layer: Name of the layer that determines `kind`.
        certain: Whether the output comes directly from that layer.
    """

    kind: str
    layer: str
    certain: bool = False


def symbolic_outputs(model: Any) -> Any:
    """Returns the symbolic outputs of a Functional or built Sequential model, as structured by it.

    Returns:
        A structure of `KerasTensor`, or None for a model whose call does not run a graph.
    """
    if private.runs_its_graph(model):
        return model.output
    if type(model).call is keras.Sequential.call:
        try:
            return model.outputs[0]
        except AttributeError:  # not built yet
            return None
    return None


def find_heads(model: keras.Model) -> Any:
    """Returns the head of each output.

    Args:
        model: Any Keras model.

    Returns:
        A `Head` in place of every output; one unknown head for a model without a graph.

    Example:
        >>> softmax = keras.layers.Dense(3, "softmax", name="d")
        >>> model = keras.Sequential([keras.Input((4,)), softmax])
        >>> find_heads(model)
        Head(kind='softmax', layer='d', certain=True)
    """
    outputs = symbolic_outputs(model)
    if outputs is None:
        return Head("unknown", model.name)
    return keras.tree.map_structure(_head_of, outputs)


def _head_of(tensor: Any) -> Head:
    operation, node, index = private.producer(tensor)
    name = operation.name
    if isinstance(operation, keras.Model):
        inner = symbolic_outputs(operation)
        return (
            Head("unknown", name) if inner is None else _head_of(keras.tree.flatten(inner)[index])
        )
    kind = _activation_kind(operation, len(tensor.shape))
    if kind is not None:
        return Head(kind, name, certain=kind in ("softmax", "sigmoid"))
    if isinstance(operation, keras.Layer):
        if isinstance(operation, keras.layers.Lambda) or not _is_builtin(operation):
            return Head("unknown", name)
        if operation.weights:
            return Head("linear", name, certain=_has_no_activation(operation))
    parents = [_head_of(t) for t in private.call_inputs(operation, node)]
    kinds = {parent.kind for parent in parents}
    if kinds and kinds <= set(_PROBABILITIES):
        return Head("stuck", name)
    return Head("unknown" if "unknown" in kinds else "linear", name)


def _activation_kind(operation: Any, rank: int) -> str | None:
    """Returns the kind of the operation's own activation; None without one."""
    if isinstance(operation, keras.layers.InputLayer):
        return "linear"
    if isinstance(operation, keras.layers.Softmax):
        return "softmax" if operation.axis in (-1, rank - 1) else "stuck"
    if isinstance(operation, _FUSED):
        return _kind_of_function(operation.activation)
    if isinstance(operation, keras.layers.SimpleRNN):
        # The loop over steps does not expose the logits.
        return "stuck" if _kind_of_function(operation.activation) in _PROBABILITIES else None
    if isinstance(operation, keras.layers.TimeDistributed | keras.layers.SpectralNormalization):
        return _kind_of_wrapper(operation, rank)
    if isinstance(operation, keras.Layer):
        return None
    name = type(operation).__name__
    if name in _LOGARITHMS:
        return "linear"
    if name == "Softmax" and operation.axis not in (-1, rank - 1):
        return "stuck"
    return _OPS.get(name)


def _kind_of_function(activation: Any) -> str | None:
    """Returns the kind of an activation function; None if it changes nothing."""
    if activation is None or activation is keras.activations.linear:
        return None
    # An activation may also be a layer, which has no such name.
    name = getattr(activation, "__name__", "") if _is_builtin(activation) else ""
    return _KINDS.get(name, "linear" if name in _VALUES else "unknown")


def _kind_of_wrapper(wrapper: Any, rank: int) -> str:
    """Returns the kind of the wrapped layer; TimeDistributed does not expose its logits."""
    inner = wrapper.layer
    if isinstance(inner, keras.Model):
        kind = keras.tree.flatten(find_heads(inner))[0].kind
    else:
        kind = _activation_kind(inner, rank)
    if kind is None:
        kind = "linear" if inner.weights and _is_builtin(inner) else "unknown"
    stepwise = isinstance(wrapper, keras.layers.TimeDistributed)
    return "stuck" if stepwise and kind in _PROBABILITIES else kind


def _has_no_activation(layer: keras.Layer) -> bool:
    return isinstance(layer, _FUSED) and layer.activation is keras.activations.linear


def _is_builtin(thing: Any) -> bool:
    module = thing.__module__ if isinstance(thing.__module__, str) else ""
    return module.partition(".")[0] == "keras"


def stuck(role: str, head: Head) -> InputError:
    """Returns the error for a head that cannot be undone."""
    return InputError(
        f"The {role}'s probabilities cannot be undone to logits at layer {head.layer!r}. Give a"
        " model that ends in logits, or in softmax or sigmoid as its last operation."
    )


def check_heads(role: str, heads: Any) -> None:
    """Rejects a head whose activation cannot be removed.

    Raises:
        InputError: With the name of the layer.
    """
    for head in keras.tree.flatten(heads):
        if head.kind == "stuck":
            raise stuck(role, head)


def logits_of(output: Any, head: Head, role: str = "model") -> Any:
    """Returns the logits behind an output tensor.

    Args:
        output: What the model returned, `(..., N)`.
        head: The result of `find_heads` for this output.
        role: "teacher" or "student", for the error.

    Returns:
        `(..., N)`: the input of the softmax or sigmoid, or `output` itself.

    Raises:
        InputError: If the head cannot be undone.
    """
    if head.kind == "linear":
        return output
    logits = private.activation_input(output)
    if logits is None:
        if head.kind != "unknown":
            raise stuck(role, head)
        return output
    return logits
