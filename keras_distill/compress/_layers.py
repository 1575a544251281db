"""Converts a Keras 3 layer to the tf_keras layer that computes the same, or raises an error.

Every config key must be known: it is passed on, translated, or dropped only at the value at which
it has no effect. An unknown key is an error, because dropping it could silently change the results.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tf_keras

from keras_distill._internal import InputError
from keras_distill.compress._activations import ACTIVATIONS

_REGULARIZERS = ("L1", "L2", "L1L2")
_CONSTRAINTS = ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm")


@dataclass(frozen=True)
class _Class:
    """How a layer class is converted.

    Attributes:
        same: Config keys that are passed on unchanged.
        renamed: Keras 3 key -> tf_keras key.
        dropped: Key that tf_keras lacks -> the values at which tf_keras computes the same.
        ignored: Keys that have no effect at the values that `dropped` allows.
    """

    same: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, tuple] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def _of(*same: str, dropped: Mapping[str, tuple] | None = None, **renamed: str) -> _Class:
    return _Class(same=same, dropped=dropped or {}, renamed=renamed)


def _weights(*names: str) -> tuple[str, ...]:
    return tuple(
        f"{n}_{kind}" for n in names for kind in ("initializer", "regularizer", "constraint")
    )


_CONV = (
    *("filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate"),
    *("activation", "use_bias", *_weights("kernel", "bias")),
)
_DEPTHWISE = (
    *("kernel_size", "strides", "padding", "data_format", "dilation_rate", "depth_multiplier"),
    *("activation", "use_bias", *_weights("depthwise", "bias")),
)
_SEPARABLE = ("filters", *_DEPTHWISE, *_weights("pointwise"))
_POOL = _of("pool_size", "strides", "padding", "data_format")
_GLOBAL_POOL = _of("data_format", "keepdims")
_NORM = ("axis", "epsilon", "center", "scale", *_weights("gamma", "beta"))
_RNN = (
    *("units", "activation", "use_bias", *_weights("kernel", "recurrent", "bias")),
    *("dropout", "recurrent_dropout", "return_sequences", "return_state", "go_backwards"),
    *("stateful", "unroll"),
)
_LAST = {"data_format": ("channels_last", None)}
_UNQUANTIZED = {"quantization_config": (None,), "lora_rank": (None,), "lora_alpha": (None,)}
_WHOLE_MASK = {"zero_output_for_mask": (False,)}

_CLASSES: dict[str, _Class] = {
    "Dense": _of(
        "units", "activation", "use_bias", *_weights("kernel", "bias"), dropped=_UNQUANTIZED
    ),
    **{f"Conv{n}D": _of(*_CONV, "groups") for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": _of(*_CONV, "output_padding") for n in (1, 2)},
    "Conv3DTranspose": _Class(
        same=(*[k for k in _CONV if k != "dilation_rate"], "output_padding"),
        dropped={"dilation_rate": ((1, 1, 1), [1, 1, 1])},
    ),
    **{f"DepthwiseConv{n}D": _of(*_DEPTHWISE) for n in (1, 2)},
    **{f"SeparableConv{n}D": _of(*_SEPARABLE) for n in (1, 2)},
    "BatchNormalization": _Class(
        same=(*_NORM, "momentum", *_weights("moving_mean", "moving_variance")),
        dropped={"renorm": (False,), "renorm_clipping": (None,), "synchronized": (False,)},
        ignored=("renorm_momentum",),
    ),
    "LayerNormalization": _of(*_NORM, dropped={"rms_scaling": (False,)}),
    "GroupNormalization": _of(*_NORM, "groups"),
    "UnitNormalization": _of("axis"),
    "Rescaling": _of("scale", "offset"),
    "Activation": _of("activation"),
    "ReLU": _of("max_value", "negative_slope", "threshold"),
    "LeakyReLU": _of(negative_slope="alpha"),
    "ELU": _of("alpha"),
    "PReLU": _of("shared_axes", *_weights("alpha")),
    "Softmax": _of("axis"),
    "Identity": _of(),
    "Flatten": _of("data_format"),
    "Reshape": _of("target_shape"),
    "Permute": _of("dims"),
    "RepeatVector": _of("n"),
    "Masking": _of("mask_value"),
    "Embedding": _of(
        *("input_dim", "output_dim", "mask_zero", *_weights("embeddings")), dropped=_UNQUANTIZED
    ),
    **{f"{kind}Pooling{n}D": _POOL for kind in ("Max", "Average") for n in (1, 2, 3)},
    **{f"Global{kind}Pooling{n}D": _GLOBAL_POOL for kind in ("Max", "Average") for n in (1, 2, 3)},
    "ZeroPadding1D": _of("padding", dropped=_LAST),
    "Cropping1D": _of("cropping"),
    **{f"ZeroPadding{n}D": _of("padding", "data_format") for n in (2, 3)},
    **{f"Cropping{n}D": _of("cropping", "data_format") for n in (2, 3)},
    "UpSampling1D": _of("size"),
    "UpSampling2D": _of("size", "data_format", "interpolation"),
    "UpSampling3D": _of("size", "data_format"),
    **{name: _of() for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")},
    "Concatenate": _of("axis"),
    "Dot": _of("axes", "normalize"),
    "Dropout": _of("rate", "seed", "noise_shape"),
    "SpatialDropout1D": _of("rate", "seed"),
    **{f"SpatialDropout{n}D": _of("rate", "seed", "data_format") for n in (2, 3)},
    "GaussianDropout": _of("rate", "seed"),
    "AlphaDropout": _of("rate", "seed", dropped={"noise_shape": (None,)}),
    "GaussianNoise": _of("stddev", "seed"),
    "SimpleRNN": _Class(same=_RNN, dropped=_WHOLE_MASK, ignored=("seed",)),
    "LSTM": _Class(
        same=(*_RNN, "recurrent_activation", "unit_forget_bias"),
        dropped=_WHOLE_MASK,
        ignored=("seed",),
    ),
    "GRU": _Class(
        same=(*_RNN, "recurrent_activation", "reset_after"),
        dropped=_WHOLE_MASK,
        ignored=("seed",),
    ),
}

# Layers whose state is written into the twin as constants, not as weights.
CONSTANT_LAYERS = ("Normalization",)

# Layers that do nothing when they are called with training=False.
INERT = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    *("GaussianDropout", "GaussianNoise", "AlphaDropout"),
)

SUPPORTED = (*_CLASSES, *CONSTANT_LAYERS)

# Arithmetic of a tensor t and a number n -> scale and offset of the equivalent Rescaling of t, for
# (t, n) and for (n, t). For two tensors, the layer with the same name is used.
_ARITHMETIC: dict[str, tuple[Callable[[float], tuple[float, float]] | None, ...]] = {
    "Add": (lambda n: (1.0, n), lambda n: (1.0, n)),
    "Subtract": (lambda n: (1.0, -n), lambda n: (-1.0, n)),
    "Multiply": (lambda n: (n, 0.0), lambda n: (n, 0.0)),
    "Divide": (lambda n: (1.0 / n, 0.0), None),
    "TrueDivide": (lambda n: (1.0 / n, 0.0), None),
}
_MERGING = ("Add", "Subtract", "Multiply")

_WHY_NOT = {
    "Lambda": "a Lambda holds Python code, which no config describes",
    "MultiHeadAttention": "attention is not supported by tensorflow-model-optimization",
    "GroupQueryAttention": "attention is not supported by tensorflow-model-optimization",
    "Attention": "attention is not supported by tensorflow-model-optimization",
    "AdditiveAttention": "attention is not supported by tensorflow-model-optimization",
}


_INSTEAD = (
    "Quantization after training needs no such layer: keras-distill export STUDENT.keras"
    " --quantization int8 --calibration SPEC."
)


def refusal(layer: str, why: str, remedy: str = "") -> InputError:
    """Returns (does not raise) the error for a layer that cannot be rebuilt in tf_keras.

    Args:
        layer: Its name, with the names of the enclosing models: `encoder/conv_1`.
        why: The reason, as a clause.
        remedy: What to do, as a sentence; by default, to quantize without training.
    """
    return InputError(f"Layer {layer!r} cannot be compressed: {why}. {remedy or _INSTEAD}")


def _is_operation(entry: Mapping[str, Any]) -> bool:
    parts = (entry.get("module") or "").split(".")
    return parts[0] == "keras" and "ops" in parts


def _no_layer(path: str, name: str) -> InputError:
    return refusal(
        path,
        f"it is the operation keras.ops.{name}, not a layer",
        "Use the layer that does the same (such as Add, Multiply, Rescaling).",
    )


def is_arithmetic(entry: Mapping[str, Any]) -> bool:
    """Returns whether an entry is arithmetic such as `x + 3`, which `arithmetic` may support."""
    return _is_operation(entry) and entry["class_name"] in _ARITHMETIC


def arithmetic(
    path: str, name: str, entry: Mapping[str, Any], args: Sequence[Any]
) -> tuple[Any, Any]:
    """Returns the arguments of the arithmetic of an entry, and the tf_keras layer that computes it.

    Args:
        path: The operation's name with the names of the enclosing models, for errors.
        name: Name of the layer.
        entry: The operation's entry in the model's config.
        args: The serialized arguments of the call: tensors and numbers.

    Raises:
        InputError: If it is not arithmetic of a tensor and a number, or a sum, difference, or
            product of two tensors.
    """
    kind = entry["class_name"]
    places = [i for i, a in enumerate(args) if isinstance(a, int | float)]
    tensors = [a for a in args if isinstance(a, Mapping) and a["class_name"] == "__keras_tensor__"]
    known = len(tensors) == 1 or (len(tensors) == 2 and kind in _MERGING)
    if not known or len(args) != 2 or len(places) + len(tensors) != 2:
        raise _no_layer(path, kind)
    if not places:
        return tensors, getattr(tf_keras.layers, kind)(name=name)
    number, of_number = args[places[0]], _ARITHMETIC[kind][1 - places[0]]
    if of_number is None or (number == 0 and kind.endswith("Divide")):
        raise _no_layer(path, kind)
    scale, offset = of_number(float(number))
    return tensors[0], tf_keras.layers.Rescaling(scale, offset, name=name)


def check_class(path: str, entry: Mapping[str, Any]) -> None:
    """Checks that an entry is a Keras layer that tf_keras also has."""
    name, module = entry["class_name"], entry.get("module")
    if entry.get("registered_name") or module != "keras.layers":
        if _is_operation(entry):
            raise _no_layer(path, name)
        raise refusal(
            path,
            f"its class {name} is not one of keras.layers, so tf_keras cannot rebuild it",
            "Build it from keras.layers as a functional model.",
        )
    if name not in SUPPORTED:
        why = _WHY_NOT.get(name, f"{name} is not among the layers that can be rebuilt in tf_keras")
        raise refusal(path, why)


def _dtype(path: str, value: Any) -> str:
    config = value.get("config", {}) if isinstance(value, Mapping) else {}
    name = config.get("name", value)
    if name != "float32":
        raise refusal(
            path,
            f"its dtype is {name!r}, and only 'float32' is understood",
            "Rebuild the student with the policy float32; its weights fit.",
        )
    return name


def _activation(path: str, value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str) or value not in ACTIVATIONS:
        name = value.get("config", value) if isinstance(value, Mapping) else value
        raise refusal(path, f"its activation {name!r} is not understood")
    return ACTIVATIONS[value]


def _named(path: str, key: str, value: Any, known: tuple[str, ...], module: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, Mapping) or value.get("class_name") not in known:
        raise refusal(path, f"its {key} {value!r:.80} is not understood")
    return getattr(module, value["class_name"])(**value["config"])


def _value(path: str, key: str, value: Any) -> Any:
    if key in ("activation", "recurrent_activation"):
        return _activation(path, value)
    if key.endswith("_regularizer"):
        return _named(path, key, value, _REGULARIZERS, tf_keras.regularizers)
    if key.endswith("_constraint"):
        return _named(path, key, value, _CONSTRAINTS, tf_keras.constraints)
    if isinstance(value, Mapping):
        raise refusal(path, f"its {key}={value!r:.80} is not understood")
    return value


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


def _settings(path: str, class_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    known = _CLASSES[class_name]
    settings: dict[str, Any] = {}
    for key, value in config.items():
        if key == "dtype":
            settings[key] = _dtype(path, value)
        elif key in ("name", "trainable"):
            settings[key] = value
        elif key == "activity_regularizer" and value is None:
            continue
        elif key in known.dropped:
            if not any(_same(value, allowed) for allowed in known.dropped[key]):
                raise refusal(path, f"tf_keras has no equal of {key}={value!r:.80}")
        elif key in known.renamed:
            settings[known.renamed[key]] = _value(path, key, value)
        elif key not in (*known.same, *known.ignored):
            raise refusal(path, f"its config key {key!r} ({value!r:.80}) is not understood")
        elif key in known.same and not key.endswith("_initializer"):
            settings[key] = _value(path, key, value)
    return settings


def _normalization(path: str, config: Mapping[str, Any], layer: keras.layers.Layer) -> Any:
    unknown = set(config) - {"name", "trainable", "dtype", "axis", "invert", "mean", "variance"}
    if unknown:
        raise refusal(path, f"its config key {min(unknown)!r} is not understood")
    _dtype(path, config["dtype"])
    axis = config["axis"]
    mean, variance = (np.asarray(value, np.float32) for value in (layer.mean, layer.variance))
    return tf_keras.layers.Normalization(
        axis=tuple(axis) if isinstance(axis, list) else axis,
        mean=np.squeeze(mean),
        variance=np.squeeze(variance),
        invert=config["invert"],
        name=config["name"],
    )


def translate(
    path: str, entry: Mapping[str, Any], layer: keras.layers.Layer, *, linear: bool = False
) -> Any:
    """Returns the tf_keras layer that computes what a Keras 3 layer computes, not yet built.

    Args:
        path: The layer's name with the names of the enclosing models, for errors.
        entry: The layer's entry in the model's config.
        layer: The layer itself.
        linear: Whether to leave out its softmax or sigmoid.

    Raises:
        InputError: If the class, a config key, or the value of a key is not supported.
    """
    check_class(path, entry)
    if entry["class_name"] in CONSTANT_LAYERS:
        return _normalization(path, entry["config"], layer)
    settings = _settings(path, entry["class_name"], entry["config"])
    if linear and entry["class_name"] == "Softmax":
        return tf_keras.layers.Activation("linear", name=settings["name"])
    if linear:
        settings["activation"] = "linear"
    make: Callable[..., Any] = getattr(tf_keras.layers, entry["class_name"])
    return make(**settings)
