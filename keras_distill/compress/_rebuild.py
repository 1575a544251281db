"""Rebuilds the graph of a Keras 3 model in tf_keras, layer by layer from its config."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from keras_distill._internal import InputError
from keras_distill.compress import _layers
from keras_distill.compress._layers import CONSTANT_LAYERS, refusal


def check_kind(model: Any) -> None:
    """Checks that a model is a built functional or Sequential Keras 3 model.

    Raises:
        InputError: If it is not one.
    """
    if not isinstance(model, keras.Model):
        raise InputError(f"`student` must be a Keras 3 model. Received: {type(model)}.")
    if isinstance(model, keras.Sequential):
        if not model.built or not model.inputs:
            raise InputError(
                f"Model {model.name!r} has no known input shape. Start it with keras.Input(shape)."
            )
    elif type(model) not in (keras.Model, _functional_class()):
        raise InputError(
            f"Model {model.name!r} is a subclassed model ({type(model).__name__}), whose layers"
            " and connections no config describes. Rebuild it as a functional model:"
            " keras.Model(inputs, outputs). Or quantize it after training: keras-distill export"
            " STUDENT.keras --quantization int8 --calibration SPEC."
        )


def _functional_class() -> type:
    x = keras.Input((1,))
    return type(keras.Model(x, x))


def copy_weights(path: str, values: list[np.ndarray], weights: list[Any]) -> None:
    shapes = [tuple(v.shape) for v in values], [tuple(w.shape) for w in weights]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"Layer {path!r}: the weights do not fit. Received: {shapes[0]} for {shapes[1]}."
        )
    for weight, value in zip(weights, values, strict=True):
        weight.assign(value)


class Builder:
    """Rebuilds one model. Each nested model has its own builder.

    Args:
        model: A built functional or Sequential Keras 3 model.
        flat: Whether to flatten nested models.
        linear: Names of layers whose softmax or sigmoid is left out.
        split: Whether to split a SeparableConv2D into a depthwise and a 1x1 convolution.
        path: Names of the enclosing models, each followed by a slash.
        name: Name of the twin. If empty, the name of the model.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        flat: bool,
        linear: Collection[str] = (),
        split: bool = False,
        path: str = "",
        name: str = "",
    ) -> None:
        check_kind(model)
        self._model, self._path = model, path
        self._flat, self._linear, self._split = flat, linear, split
        self._name = name or model.name
        self._prefix = path.replace("/", "_") if flat else ""
        self._sources = {layer.name: layer for layer in model.layers}
        self._entries: dict[str, Any] = {}
        self._tensors: dict[tuple[str, int, int], Any] = {}
        self._layers: dict[str, Any] = {}

    def build(self) -> Any:
        """Builds the twin as a separate model."""
        config = self._config()
        inputs = _map_keys(config["input_layers"], self._input)
        outputs = self._run(config)
        return tf_keras.Model(inputs, outputs, name=self._name)

    def inline(self, inputs: Any) -> Any:
        """Applies the layers to tensors of the enclosing model, and returns the outputs."""
        config = self._config()
        keys: list[tuple[str, int, int]] = []
        _map_keys(config["input_layers"], keys.append)
        tensors = tf.nest.flatten(inputs)
        if len(keys) != len(tensors):
            raise refusal(self._path[:-1], "it is not called with all of its inputs")
        self._tensors = dict(zip(keys, tensors, strict=True))  # a second call shares the layers
        return self._run(config)

    def _config(self) -> dict[str, Any]:
        sequential = isinstance(self._model, keras.Sequential)
        config = _as_functional(self._model) if sequential else self._model.get_config()
        self._entries = {entry["config"]["name"]: entry for entry in config["layers"]}
        for name, entry in self._entries.items():
            nested = isinstance(self._sources.get(name), keras.Model)
            plain = entry["class_name"] == "InputLayer" or _layers.is_arithmetic(entry)
            if not nested and not plain:
                _layers.check_class(self._path + name, entry)
        return config

    def _run(self, config: Mapping[str, Any]) -> Any:
        pending = [
            (name, index, node)
            for name, entry in self._entries.items()
            for index, node in enumerate(entry["inbound_nodes"])
        ]
        while pending:
            waiting = [job for job in pending if not self._apply(*job)]
            if len(waiting) == len(pending):
                raise InputError(f"Model {self._model.name!r}: its layers form no graph.")
            pending = waiting
        return _map_keys(config["output_layers"], self._output)

    def _output(self, key: tuple[str, int, int]) -> Any:
        name, index, place = key
        layer = self._sources.get(name)
        if isinstance(layer, keras.Model) and not isinstance(layer, keras.Sequential):
            index -= 1  # building a functional model is a call that only this index counts
        return self._tensors[name, index, place]

    def _apply(self, name: str, index: int, node: Any) -> bool:
        """Calls a layer once if its inputs are available. Returns whether they were."""
        entry, calculation = self._entries[name], None
        if _layers.is_arithmetic(entry):
            arguments, calculation = _layers.arithmetic(
                self._path + name, self._prefix + name, entry, node["args"]
            )
        else:
            arguments = self._arguments(name, node)
        keys: list[tuple[str, int, int]] = []
        _map(arguments, keys.append)
        if any(key not in self._tensors for key in keys):
            return False
        inputs = _map(arguments, lambda key: self._tensors[key])
        if calculation is not None:
            outputs = self._layers.setdefault(name, calculation)(inputs)
        else:
            outputs = self._call(name, inputs, node["kwargs"].get("training"))
        for i, tensor in enumerate(tf.nest.flatten(outputs)):
            self._tensors[name, index, i] = tensor
        return True

    def _arguments(self, name: str, node: Mapping[str, Any]) -> Any:
        path = self._path + name
        given = {k: v for k, v in node["kwargs"].items() if v is not None and k != "training"}
        if given:
            raise refusal(path, f"it is called with {min(given)}={given[min(given)]!r:.80}")
        if len(node["args"]) != 1:
            raise refusal(path, f"it is called with {len(node['args'])} arguments instead of one")
        return node["args"][0]

    def _call(self, name: str, inputs: Any, training: bool | None) -> Any:
        entry, layer, path = self._entries[name], self._sources[name], self._path + name
        nested = isinstance(layer, keras.Model)
        inert = training is False and entry["class_name"] in _layers.INERT
        if training is not None and not inert:
            raise refusal(path, f"it is called with training={training}")
        if inert:
            identity = tf_keras.layers.Activation("linear", name=self._prefix + name)
            return self._layers.setdefault(name, identity)(inputs)
        if nested and self._flat:
            if name not in self._layers:
                self._layers[name] = self._nested(layer, path, name)
            return self._layers[name].inline(inputs)
        if name not in self._layers:
            if nested:
                self._layers[name] = self._nested(layer, path, name).build()
            else:
                renamed = {**entry, "config": {**entry["config"], "name": self._prefix + name}}
                self._layers[name] = _layers.translate(
                    path, renamed, layer, linear=name in self._linear
                )
        twin = self._layers[name]
        if self._split and entry["class_name"] == "SeparableConv2D":
            return _split_separable(path, twin, layer, inputs)
        fresh = not nested and not twin.built
        outputs = twin(inputs)
        if fresh and entry["class_name"] not in CONSTANT_LAYERS:
            copy_weights(path, [w.numpy() for w in layer.weights], twin.weights)
        return outputs

    def _nested(self, model: keras.Model, path: str, name: str) -> "Builder":
        return Builder(
            model,
            flat=self._flat,
            linear=self._linear,
            split=self._split,
            path=path + "/",
            name=name,
        )

    def _input(self, key: tuple[str, int, int]) -> Any:
        config = self._entries[key[0]]["config"]
        unknown = set(config) - {"batch_shape", "dtype", "sparse", "ragged", "name", "optional"}
        for name in ("sparse", "ragged", "optional"):
            if config.get(name):
                unknown.add(name)
        if unknown:
            raise refusal(self._path + key[0], f"its config key {min(unknown)!r} is not understood")
        self._tensors[key] = tf_keras.Input(
            batch_shape=config["batch_shape"], dtype=config["dtype"], name=key[0]
        )
        return self._tensors[key]


def _split_separable(path: str, twin: Any, layer: keras.layers.Layer, inputs: Any) -> Any:
    """Splits a separable convolution as tfmot does, but with unique layer names."""
    depthwise = tf_keras.layers.DepthwiseConv2D(
        twin.kernel_size,
        strides=twin.strides,
        padding=twin.padding,
        data_format=twin.data_format,
        dilation_rate=twin.dilation_rate,
        depth_multiplier=twin.depth_multiplier,
        use_bias=False,
        depthwise_regularizer=twin.depthwise_regularizer,
        trainable=twin.trainable,
        name=f"{twin.name}_depthwise",
    )
    pointwise = tf_keras.layers.Conv2D(
        twin.filters,
        1,
        data_format=twin.data_format,
        use_bias=twin.use_bias,
        activation=twin.activation,
        kernel_regularizer=twin.pointwise_regularizer,
        bias_regularizer=twin.bias_regularizer,
        trainable=twin.trainable,
        name=f"{twin.name}_pointwise",
    )
    outputs = pointwise(depthwise(inputs))
    values = [w.numpy() for w in layer.weights]
    copy_weights(path, values, [*depthwise.weights, *pointwise.weights])
    return outputs


def _as_functional(model: keras.Sequential) -> dict[str, Any]:
    """Returns the config of a Sequential model in the form of a functional one."""
    layers, previous = [], None
    source = {layer.name: layer for layer in model.layers}
    for entry in model.get_config()["layers"]:
        name = entry["config"]["name"]
        if entry["class_name"] == "InputLayer":
            previous = name
            layers.append({**entry, "inbound_nodes": []})
            continue
        if previous is None or name not in source:
            raise InputError(f"Model {model.name!r} has no known input. Start it with keras.Input.")
        node = {"args": [_tensor_of(previous)], "kwargs": {}}
        layers.append({**entry, "inbound_nodes": [node]})
        previous = name
    return {
        "layers": layers,
        "input_layers": [layers[0]["config"]["name"], 0, 0],
        "output_layers": [previous, 0, 0],
    }


def _tensor_of(name: str) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}


def _map(arguments: Any, function: Callable[[Any], Any]) -> Any:
    """Applies `function` to the key of every tensor in the serialized arguments of a call."""
    if isinstance(arguments, Mapping):
        if arguments.get("class_name") == "__keras_tensor__":
            return function(tuple(arguments["config"]["keras_history"]))
        return {name: _map(value, function) for name, value in arguments.items()}
    if isinstance(arguments, list | tuple):
        return [_map(value, function) for value in arguments]
    raise InputError(f"A layer is called with {arguments!r:.80}, which is not a tensor.")


def _map_keys(structure: Any, function: Callable[[Any], Any]) -> Any:
    """Applies `function` to every `[name, node, tensor]` of a config's inputs or outputs."""
    if isinstance(structure, Mapping):
        return {name: _map_keys(value, function) for name, value in structure.items()}
    if len(structure) == 3 and isinstance(structure[0], str):
        return function((structure[0], structure[1], structure[2]))
    return [_map_keys(value, function) for value in structure]
