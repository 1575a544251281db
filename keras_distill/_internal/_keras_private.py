"""Wraps every use of Keras's private API, with one function per use.

Keras may change these names in any release. `tests/internal/test_keras_private.py` has one test per
function: run these tests first with a new version of Keras. This module imports Keras, so the
package `_internal` does not import this module.
"""

import contextlib
import copy
import random
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
from keras.src import backend
from keras.src.applications import convnext
from keras.src.backend.common import global_state
from keras.src.models.functional import Functional


def is_functional(model: Any) -> bool:
    """Returns whether a model is a Functional model, or a subclass of one (not a Sequential)."""
    return isinstance(model, Functional)


def is_plain_model(model: Any) -> bool:
    """Returns whether a model is exactly a Functional or Sequential model, and not a subclass."""
    return type(model) in (Functional, keras.Sequential)


def runs_its_graph(model: Any) -> bool:
    """Returns whether the model uses the `call` of Functional, which runs its graph of layers."""
    return type(model).call is Functional.call


def producer(tensor: keras.KerasTensor) -> tuple[Any, int, int]:
    """Returns the operation that created a symbolic tensor.

    Args:
        tensor: A symbolic tensor of a Functional graph.

    Returns:
        The operation, the index of its call, and the index of the tensor among its outputs.
    """
    operation, node, index = tensor._keras_history  # pyright: ignore[reportAttributeAccessIssue]
    return operation, node, index


def call_inputs(operation: Any, node: int) -> list[keras.KerasTensor]:
    """Returns the symbolic inputs of one call of an operation.

    Args:
        operation: A layer or operation in a Functional graph.
        node: The index of the call, as `producer` returns it.
    """
    return list(operation._inbound_nodes[node].input_tensors)


def sublayers(model: keras.Model) -> Iterator[keras.Layer]:
    """Yields every layer in a model at any depth, including the layers inside wrappers."""
    yield from model._flatten_layers(include_self=False)


def activation_input(output: Any) -> Any:
    """Returns the input of the softmax or sigmoid that computed `output`, or None if unknown.

    Keras's TensorFlow backend stores it on the output for its own cross-entropy functions.
    """
    return getattr(output, "_keras_logits", None)


def mask_of(tensor: Any) -> Any:
    """Returns the mask that Keras attached to a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Attaches a mask to a tensor, as Keras does. None removes the mask."""
    backend.set_keras_mask(tensor, mask)


def standardized_inputs(model: keras.Model, x: Any) -> list[Any]:
    """Returns the inputs for the graph of a Functional or built Sequential model, as a flat list.

    Keras converts them to the order, rank, and dtype of the symbolic inputs.
    """
    return keras.tree.flatten(_graph_of(model)._standardize_inputs(x))


class GraphCall(NamedTuple):
    """One call of a layer or operation in the graph of a model.

    Attributes:
        operation: The layer, nested model, or `keras.ops` operation.
        inputs: The symbolic inputs, as a flat list.
        outputs: The symbolic outputs, as a flat list.
        node: The Keras node of the call.
    """

    operation: Any
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]
    node: Any

    def arguments(self, values: Mapping[int, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Returns the arguments of the call, with a value in place of each symbolic tensor.

        Args:
            values: The values, by the `id` of the symbolic tensor.

        Returns:
            The positional arguments and the keyword arguments.
        """
        return self.node.arguments.fill_in(values)


def graph_calls(model: keras.Model) -> list[GraphCall]:
    """Returns the calls in the graph of a Functional or built Sequential model.

    The calls are in execution order. A nested model is one call. The calls inside it belong to its
    own graph.
    """
    graph = _graph_of(model)
    by_depth: dict[int, list[Any]] = graph._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return [
        GraphCall(node.operation, list(node.input_tensors), list(node.outputs), node)
        for node in nodes
        if node.operation and not node.is_input
    ]


def graph_structure(model: keras.Model) -> tuple[Any, Any]:
    """Returns the symbolic inputs and outputs of a model's graph, in the model's own structures."""
    graph = _graph_of(model)
    return graph._inputs_struct, graph._outputs_struct


def _graph_of(model: Any) -> Any:
    return model._functional if isinstance(model, keras.Sequential) else model


def ops_class(operation: Any) -> str | None:
    """Returns the class name of a `keras.ops` operation, or None for layers and others."""
    kind = type(operation)
    return kind.__name__ if kind.__module__.startswith("keras.src.ops.") else None


def attention_projections(layer: Any) -> dict[str, keras.layers.Layer]:
    """Returns the projections of a `MultiHeadAttention` or `GroupQueryAttention`, by role.

    The roles are "query", "key", "value", "output", and "gate" if the layer has a gate.
    """
    roles = ["query", "key", "value", "output"] + ["gate"] * hasattr(layer, "_gate_dense")
    return {role: getattr(layer, f"_{role}_dense") for role in roles}


def convnext_layers() -> tuple[type[keras.Layer], type[keras.Layer]]:
    """Returns the classes `LayerScale` and `StochasticDepth` of Keras's ConvNeXt models.

    `LayerScale` multiplies each channel by a weight (`gamma`; the number of channels is
    `projection_dim` in the config). `StochasticDepth` drops whole examples in training.
    """
    return convnext.LayerScale, convnext.StochasticDepth


def is_quantized(layer: Any) -> bool:
    """Returns whether a layer has been quantized by Keras, or has LoRA weights."""
    return bool(getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False))


def compiled_loss(model: keras.Model) -> Any:
    """Returns the compiled loss, a callable `(labels, outputs, weights)`, or None without one."""
    return model._compile_loss


def compiled_metrics(model: keras.Model) -> Any:
    """Returns the container of the metrics passed to `compile`, or None without metrics."""
    return model._compile_metrics


def restored_epoch(model: keras.Model) -> int | None:
    """Returns the epoch from which `BackupAndRestore` resumes `fit`, or None without a backup."""
    return model._initial_epoch


def compile_arguments(model: keras.Model) -> dict[str, Any]:
    """Returns the arguments of the last call of `compile`, by name."""
    return dict(model._compile_config.config)


def forget_compiled(model: keras.Model) -> None:
    """Removes the loss and metrics of an earlier `compile`, which a later call would keep."""
    model.loss = model._compile_loss = model._compile_metrics = None


def loss_tracker(model: keras.Model) -> keras.metrics.Mean:
    """Returns the running mean that Keras reports as `loss`."""
    return model._loss_tracker


def update_metrics(
    compiled: Any, labels: Any, outputs: Any, weights: Any, weighted_weights: Any
) -> None:
    """Updates compiled metrics with weights, including the unweighted metrics.

    Keras itself passes weights to `weighted_metrics` only.

    Args:
        compiled: The container from `compiled_metrics`.
        labels: The labels, in the structure that Keras expects.
        outputs: The outputs, in the structure that Keras expects.
        weights: The weights for the metrics passed as `metrics`, in the structure of the outputs.
        weighted_weights: The weights for the metrics passed as `weighted_metrics`, in the structure
            of the outputs.
    """
    if not compiled.built:
        compiled.build(labels, outputs)
    labels, outputs = compiled._flatten_y(labels), compiled._flatten_y(outputs)
    groups = (
        (compiled._flat_metrics, weights),
        (compiled._flat_weighted_metrics, weighted_weights),
    )
    for metrics, group_weights in groups:
        flat = compiled._flatten_y(group_weights)
        for metric, label, output, weight in zip(metrics, labels, outputs, flat, strict=True):
            if metric is not None:
                metric.update_state(label, output, sample_weight=weight)


def declared_variables(config: dict[str, Any]) -> list[tuple[str, tuple[int, ...], str]]:
    """Returns the path, shape, and dtype of each variable of a serialized model.

    No variable is allocated. If the config cannot be deserialized, the variables created before the
    error are returned.

    Args:
        config: The result of `keras.saving.serialize_keras_object`. It is not changed.
    """
    config = copy.deepcopy(config)
    config.pop("compile_config", None)
    name = "uninitialized_variables"
    before = global_state.get_global_attribute(name)
    global_state.set_global_attribute(name, [])
    state = random.getstate()  # initializers draw seeds from Python's generator
    try:
        with keras.StatelessScope(initialize_variables=False), contextlib.suppress(Exception):
            keras.saving.deserialize_keras_object(config, safe_mode=True)
        found = global_state.get_global_attribute(name) or []
        return [(v.path, tuple(v.shape), str(v.dtype)) for v in found]
    finally:
        random.setstate(state)
        global_state.set_global_attribute(name, before)


def output_shapes(operation: Any) -> list[tuple[int | None, ...]]:
    """Returns the shape of each output of each symbolic call of a layer or operation."""
    nodes = operation._inbound_nodes
    return [tuple(tensor.shape) for node in nodes for tensor in node.output_tensors]


class TrainerModel(keras.Model):
    """A `keras.Model` that overrides two private methods of Keras's trainer.

    - `jit_compile="auto"` never selects XLA if `xla_compilable` is False.
    - Under a distribution strategy, the model is built from the batch of one replica. Keras builds
      it from the mean of the replicas' batches, which fails for boolean components such as
      `Targets.labeled`. Without a strategy, `fit` does not build the model symbolically.
    """

    @property
    def xla_compilable(self) -> bool:
        """Whether XLA can compile a training step."""
        return True

    def _resolve_auto_jit_compile(self) -> bool:
        return self.xla_compilable and super()._resolve_auto_jit_compile()

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if self._distribute_strategy is None:
            return
        if iterator is not None:
            batches = next(iter(iterator))[2]
            local = self.distribute_strategy.experimental_local_results
            data_batch = keras.tree.map_structure(lambda v: local(v)[0], next(batches))
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=data_batch)
