"""The bridge: a Keras 3 functional or Sequential model as a tf_keras twin, and back.

tensorflow-model-optimization knows tf_keras models only. The twin is rebuilt layer by layer from
the config, has the same names, and shares nothing with the model it was made from.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from keras_distill._checks import GateError, InputError
from keras_distill.compress import _layers
from keras_distill.compress._layers import CONSTANT_LAYERS, refusal

# The largest difference between outputs that is put down to rounding, relative to their size.
TOLERANCE = 1e-4


def to_tf_keras(model: keras.Model, *, flat: bool = False) -> Any:
    """A tf_keras twin of a Keras 3 model, with copies of its weights.

    Shared layers, several inputs and outputs (also as dicts) and nested models cross over. Both
    are run once on random input, and must agree.

    Args:
        model: A functional or Sequential model that has been built.
        flat: Whether nested models are dissolved; their layers are then named `outer_inner`.

    Returns:
        A functional `tf_keras.Model`.

    Raises:
        InputError: If a layer, a config key or an activation is not understood; the message names
            layer and key.
        GateError: If the outputs differ.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="logits")])
        >>> twin = to_tf_keras(model)
        >>> type(twin).__module__.split(".")[0], [layer.name for layer in twin.layers][1:]
        ('tf_keras', ['logits'])
    """
    check_kind(model)
    _refuse_sharing_across(model)
    twin = _Builder(model, flat=flat).build()
    x = random_inputs(model)
    _check_equal(model, x, twin(x, training=False))
    return twin


def to_logits(model: keras.Model, heads: Mapping[str, str]) -> Any:
    """A twin for training: nested models dissolved, inputs and outputs flat, heads taken off.

    Args:
        model: A functional or Sequential model that has been built.
        heads: Layer that ends in "softmax" or "sigmoid" -> which of the two; it is left out.

    Returns:
        A functional `tf_keras.Model`, its inputs and outputs in the order of Keras 3's.

    Raises:
        InputError: As `to_tf_keras`.
        GateError: As `to_tf_keras`.
    """
    check_kind(model)
    _refuse_sharing_across(model)
    twin = _Builder(model, flat=True, linear=tuple(heads)).build()
    inputs, outputs = keras.tree.flatten(twin.input), keras.tree.flatten(twin.output)
    flat = tf_keras.Model(inputs, outputs, name=model.name)
    x = random_inputs(model)
    logits = tf.nest.flatten(flat(keras.tree.flatten(x), training=False))
    _check_equal(model, x, _with_heads(model, logits, heads))
    return flat


def _with_heads(model: keras.Model, logits: list[Any], heads: Mapping[str, str]) -> list[Any]:
    functions = {"softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}
    kinds = [heads.get(_head_layer(tensor)) for tensor in model.outputs]
    return [functions[k](z) if k else z for k, z in zip(kinds, logits, strict=True)]


def _head_layer(tensor: Any) -> str:
    """The layer that a symbolic output comes from, looked for inside nested models too."""
    layer, _, index = tensor._keras_history
    return _head_layer(layer.outputs[index]) if isinstance(layer, keras.Model) else layer.name


def to_keras(twin: Any, like: keras.Model) -> keras.Model:
    """A Keras 3 model built like another, with the weights of a tf_keras twin.

    Args:
        twin: A twin of `like`, nested or flat, since trained; wrappers stripped.
        like: The model that the twin was made from; it is not changed.

    Returns:
        A clone of `like`, trainable like it, not compiled.

    Raises:
        InputError: If the two do not have the same layers and weights.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> again = to_keras(to_tf_keras(model), like=model)
        >>> all((a == b).all() for a, b in zip(model.get_weights(), again.get_weights()))
        True
    """
    clone = clone_with_weights(like)
    twins = dict(walk(twin, tf_keras.Model))
    for path, layer in walk(clone, keras.Model):
        if type(layer).__name__ in CONSTANT_LAYERS or not layer.weights:
            continue
        found = twins.get(path) or twins.get(path.replace("/", "_"))
        if found is None:
            raise InputError(f"The twin has no layer {path!r}.")
        _copy(path, [w.numpy() for w in found.weights], layer.weights)
    return clone


def clone_with_weights(model: keras.Model) -> keras.Model:
    """A copy of a Keras 3 model that shares nothing with it; not compiled."""
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    return clone


def check_kind(model: Any) -> None:
    """Refuses what is no built functional or Sequential Keras 3 model.

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
            " keras.Model(inputs, outputs)."
        )


def _functional_class() -> type:
    x = keras.Input((1,))
    return type(keras.Model(x, x))


def walk(model: Any, kind: type = keras.Model, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All layers of a model and of the models in it, with their paths: `encoder/conv_1`."""
    for layer in model.layers:
        if isinstance(layer, kind):
            yield from walk(layer, kind, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def _refuse_sharing_across(model: keras.Model) -> None:
    paths: dict[int, str] = {}
    for path, layer in walk(model, keras.Model):
        if id(layer) in paths and layer.weights:
            raise refusal(
                path,
                f"it is shared with {paths[id(layer)]!r} in another model",
                "Use it twice within one model instead.",
            )
        paths[id(layer)] = path


def _copy(path: str, values: list[np.ndarray], weights: list[Any]) -> None:
    shapes = [tuple(v.shape) for v in values], [tuple(w.shape) for w in weights]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"Layer {path!r}: the weights do not fit. Received: {shapes[0]} for {shapes[1]}."
        )
    for weight, value in zip(weights, values, strict=True):
        weight.assign(value)


class _Builder:
    """Rebuilds one model; nested models get builders of their own."""

    def __init__(
        self,
        model: keras.Model,
        *,
        flat: bool,
        linear: Collection[str] = (),
        path: str = "",
        name: str = "",
    ) -> None:
        check_kind(model)
        self._model, self._flat, self._linear, self._path = model, flat, linear, path
        self._name = name or model.name
        self._prefix = path.replace("/", "_") if flat else ""
        self._sources = {layer.name: layer for layer in model.layers}
        self._entries: dict[str, Any] = {}
        self._tensors: dict[tuple[str, int, int], Any] = {}
        self._layers: dict[str, Any] = {}

    def build(self) -> Any:
        """The twin as a model of its own."""
        config = self._config()
        inputs = _map_keys(config["input_layers"], self._input)
        outputs = self._run(config)
        return tf_keras.Model(inputs, outputs, name=self._name)

    def inline(self, inputs: Any) -> Any:
        """Applies the layers to tensors of the model around this one; returns its outputs."""
        config = self._config()
        keys: list[tuple[str, int, int]] = []
        _map_keys(config["input_layers"], keys.append)
        tensors = tf.nest.flatten(inputs)
        if len(keys) != len(tensors):
            raise refusal(self._path[:-1], "it is not called with all of its inputs")
        self._tensors.update(zip(keys, tensors, strict=True))
        return self._run(config)

    def _config(self) -> dict[str, Any]:
        sequential = isinstance(self._model, keras.Sequential)
        config = _as_functional(self._model) if sequential else self._model.get_config()
        self._entries = {entry["config"]["name"]: entry for entry in config["layers"]}
        for name, entry in self._entries.items():
            nested = isinstance(self._sources.get(name), keras.Model)
            if not nested and entry["class_name"] != "InputLayer":
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
        return _map_keys(config["output_layers"], lambda key: self._tensors[key])

    def _apply(self, name: str, index: int, node: Any) -> bool:
        """Calls a layer once, if what it is called on is there; tells whether it was."""
        arguments = self._arguments(name, node)
        keys: list[tuple[str, int, int]] = []
        _map(arguments, keys.append)
        if any(key not in self._tensors for key in keys):
            return False
        inputs = _map(arguments, lambda key: self._tensors[key])
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
            return tf_keras.layers.Activation("linear", name=self._prefix + name)(inputs)
        if nested and self._flat:
            return self._nested(layer, path, name).inline(inputs)
        if name not in self._layers:
            if nested:
                self._layers[name] = self._nested(layer, path, name).build()
            else:
                renamed = {**entry, "config": {**entry["config"], "name": self._prefix + name}}
                self._layers[name] = _layers.translate(
                    path, renamed, layer, linear=name in self._linear
                )
        twin = self._layers[name]
        fresh = not nested and not twin.built
        outputs = twin(inputs)
        if fresh and entry["class_name"] not in CONSTANT_LAYERS:
            _copy(path, [w.numpy() for w in layer.weights], twin.weights)
        return outputs

    def _nested(self, model: keras.Model, path: str, name: str) -> "_Builder":
        return _Builder(model, flat=self._flat, linear=self._linear, path=path + "/", name=name)

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


def _as_functional(model: keras.Sequential) -> dict[str, Any]:
    """The config of a Sequential model in the words of a functional one."""
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
    """Applies `function` to the key of every tensor in the serialised arguments of a call."""
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


def random_inputs(model: keras.Model, rows: int = 2) -> Any:
    """Random input of a model's own structure: normal floats; 0 and 1 for whole numbers."""
    generator = np.random.default_rng(0)

    def draw(tensor: Any) -> np.ndarray:
        shape = [rows, *[n or 8 for n in tensor.shape[1:]]]
        if tensor.shape[0] is not None:
            shape[0] = tensor.shape[0]
        if "float" in str(tensor.dtype):
            return generator.standard_normal(shape).astype(str(tensor.dtype))
        return generator.integers(0, 2, shape).astype(str(tensor.dtype))

    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.tree.map_structure(draw, structure)


def largest_difference(a: Any, b: Any) -> float:
    """The largest difference of two structures of outputs, relative to the output (at least 1)."""
    flat = [[np.asarray(t) for t in keras.tree.flatten(side)] for side in (a, b)]
    relative = [np.abs(p - q).max() / max(1.0, np.abs(p).max()) for p, q in zip(*flat, strict=True)]
    return float(np.max(relative))


def _check_equal(model: keras.Model, x: Any, outputs: Any) -> None:
    difference = largest_difference(model(x, training=False), outputs)
    if not difference <= TOLERANCE:
        raise GateError(
            f"Model {model.name!r}: its tf_keras twin computes something else (relative difference"
            f" {difference:.1e}, allowed {TOLERANCE:g}). Please report the layers it is made of."
        )
