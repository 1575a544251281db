"""Every use of Keras's private API, one function per use.

Keras may change these names in any release. `tests/internal/test_keras_private.py` has one canary
test per function: run it first against a new version of Keras. This module imports Keras, so the
package `_internal` does not import it.
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
    """Returns whether a model is Functional or Sequential and no subclass of them."""
    return type(model) in (Functional, keras.Sequential)


def runs_its_graph(model: Any) -> bool:
    """Returns whether the model's `call` runs a graph of layers, as Functional defines it."""
    return type(model).call is Functional.call


def producer(tensor: keras.KerasTensor) -> tuple[Any, int, int]:
    """Returns the operation that made a symbolic tensor, the index of its call, and of the output.

    Args:
        tensor: A symbolic tensor of a Functional graph.
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
    """Returns the tensor before the softmax or sigmoid that made `output`; None if not recorded.

    Keras's TensorFlow backend stores it on the output for its own cross-entropy functions.
    """
    return getattr(output, "_keras_logits", None)


def mask_of(tensor: Any) -> Any:
    """Returns the mask that Keras attached to a tensor; None if it has none."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Attaches a mask to a tensor, as Keras does; None removes it."""
    backend.set_keras_mask(tensor, mask)


def standardized_inputs(model: keras.Model, x: Any) -> list[Any]:
    """Returns the flat inputs of a Functional or built Sequential model, as its graph takes them.

    Keras brings them to the order, rank, and dtype of the symbolic inputs.
    """
    return keras.tree.flatten(_graph_of(model)._standardize_inputs(x))


class GraphCall(NamedTuple):
    """One call of a layer or operation in the graph of a model.

    Attributes:
        operation: The layer, nested model, or `keras.ops` operation.
        inputs: Its symbolic inputs, flat.
        outputs: Its symbolic outputs, flat.
        node: Keras's own description of the call.
    """

    operation: Any
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]
    node: Any

    def arguments(self, values: Mapping[int, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Returns the arguments of the call with a value in place of each symbolic tensor.

        Args:
            values: By the id of the symbolic tensor.
        """
        return self.node.arguments.fill_in(values)


def graph_calls(model: keras.Model) -> list[GraphCall]:
    """Returns the calls in the graph of a Functional or built Sequential model, in running order.

    A nested model is one call; its own calls are those of its own graph.
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
    """Returns the symbolic inputs and outputs of a model's graph, in the structures it takes."""
    graph = _graph_of(model)
    return graph._inputs_struct, graph._outputs_struct


def _graph_of(model: Any) -> Any:
    return model._functional if isinstance(model, keras.Sequential) else model


def ops_class(operation: Any) -> str | None:
    """Returns the name of the class of a `keras.ops` operation; None for layers and others."""
    kind = type(operation)
    return kind.__name__ if kind.__module__.startswith("keras.src.ops.") else None


def attention_projections(layer: Any) -> dict[str, keras.layers.Layer]:
    """Returns the projections of a `MultiHeadAttention` or `GroupQueryAttention` by role.

    The roles: query, key, value, output, and gate if the layer has one.
    """
    roles = ["query", "key", "value", "output"] + ["gate"] * hasattr(layer, "_gate_dense")
    return {role: getattr(layer, f"_{role}_dense") for role in roles}


def convnext_layers() -> tuple[type[keras.Layer], type[keras.Layer]]:
    """Returns the two layer classes that only the ConvNeXt models of keras.applications have.

    The first multiplies each channel by a number (`gamma`, in the config `projection_dim`). The
    second drops whole examples in training.
    """
    return convnext.LayerScale, convnext.StochasticDepth


def is_quantized(layer: Any) -> bool:
    """Returns whether a layer has been quantized by Keras, or has LoRA weights."""
    return bool(getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False))


def compiled_loss(model: keras.Model) -> Any:
    """Returns the callable `(labels, outputs, weights)` of the compiled loss; None without one."""
    return model._compile_loss


def compiled_metrics(model: keras.Model) -> Any:
    """Returns the container of the metrics given to `compile`; None without metrics."""
    return model._compile_metrics


def restored_epoch(model: keras.Model) -> int | None:
    """Returns the epoch at which `BackupAndRestore` makes `fit` start; None if it restored none."""
    return model._initial_epoch


def compile_arguments(model: keras.Model) -> dict[str, Any]:
    """Returns the arguments of the last `compile` by name."""
    return dict(model._compile_config.config)


def forget_compiled(model: keras.Model) -> None:
    """Removes loss and metrics of an earlier `compile`, which a later one without them keeps."""
    model.loss = model._compile_loss = model._compile_metrics = None


def loss_tracker(model: keras.Model) -> keras.metrics.Mean:
    """Returns the running mean that Keras reports as `loss`."""
    return model._loss_tracker


def update_metrics(
    compiled: Any, labels: Any, outputs: Any, weights: Any, weighted_weights: Any
) -> None:
    """Updates compiled metrics, the unweighted ones with weights too.

    Keras passes weights to `weighted_metrics` only.

    Args:
        compiled: From `compiled_metrics`.
        labels: The labels, structured as for Keras.
        outputs: The outputs, structured as for Keras.
        weights: Weights of the metrics given as `metrics`, structured as the outputs.
        weighted_weights: Weights of the metrics given as `weighted_metrics`.
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
    """Returns path, shape, and dtype of the variables of a serialized model; allocates none.

    If the config cannot be deserialized, the variables created before the error are returned.

    Args:
        config: What `keras.saving.serialize_keras_object` returned; not changed.
    """
    config = copy.deepcopy(config)
    config.pop("compile_config", None)
    name = "uninitialized_variables"
    before = global_state.get_global_attribute(name)
    global_state.set_global_attribute(name, [])
    state = random.getstate()  # initializers draw their seeds from Python's generator
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
    """A `keras.Model` with two private hooks of Keras's trainer overridden.

    - `jit_compile="auto"` never selects XLA where `xla_compilable` is false.
    - Under a distribution strategy, the model is built from the batch of one replica. Keras builds
      it from the mean of the replicas' batches, which boolean components such as `Targets.labeled`
      do not have.
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
