"""Runs the graph of an analyzed model, with the known channels of each tensor."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import keras

from keras_distill._internal._keras_private import GraphCall
from keras_distill.models import follow
from keras_distill.shrink._analysis import Analysis, Label

V = TypeVar("V")
Visit = Callable[[GraphCall, dict[int, V], Label], Sequence[V]]


def run_labeled(analysis: Analysis, inputs: Sequence[V], visit: "Visit[V]") -> list[V]:
    """Propagates values along the graph, also through nested models.

    Args:
        analysis: The analysis of the model.
        inputs: A value for each input of the model.
        visit: `visit(call, values, label)`, as in `models.follow`, for each call that is not a
            nested model; `label` has the channels of the call's inputs and outputs.

    Returns:
        A value for each output of the model.
    """
    labels: Iterator[Label] = iter(analysis.labels)

    def step(call: GraphCall, values: dict[int, V]) -> Sequence[V]:
        if id(call.operation) in analysis.entered:
            return follow(call.operation, [values[id(t)] for t in call.inputs], step)
        return visit(call, values, next(labels))

    return follow(analysis.model, inputs, step)


def call_operation(
    call: GraphCall, values: Mapping[int, Any], operation: Any = None, training: bool = False
) -> list[Any]:
    """Returns the flat outputs of a call.

    Args:
        call: The call.
        values: Values by the id of each symbolic input.
        operation: The operation to call. If None, the call's own operation.
        training: The training mode, unless the graph sets it for this call.
    """
    operation = call.operation if operation is None else operation
    args, kwargs = call.arguments(values)
    if kwargs.get("training") is None and takes_training(operation):
        kwargs["training"] = training
    return keras.tree.flatten(operation(*args, **kwargs))


def takes_training(operation: Any) -> bool:
    """Returns whether the call of a layer has an argument `training`."""
    return "training" in inspect.signature(operation.call).parameters
