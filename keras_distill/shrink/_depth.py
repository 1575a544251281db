"""Removes residual blocks. Blocks whose shortcut is the identity can be removed as a whole."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._keras_private import (
    GraphCall,
    activation_input,
    graph_calls,
    ops_class,
)
from keras_distill.models import follow, has_graph
from keras_distill.shrink._run import call_operation


class Block(NamedTuple):
    """A residual block, y = x + f(x).

    Attributes:
        name: The name of the addition.
        addition: The id of its node.
        shortcut: The id of x, a symbolic tensor.
        inside: The ids of the nodes of f.
    """

    name: str
    addition: int
    shortcut: int
    inside: frozenset[int]


def find_blocks(model: keras.Model) -> list[Block]:
    """Finds the residual blocks that can be removed, also in nested models, in execution order.

    One operand of an addition must be x itself, the other operands must be computed from x only,
    and no layer outside the block may read a tensor inside it. A block that contains other blocks
    is not listed; the inner blocks are.

    Args:
        model: A model with a graph.
    """
    calls = graph_calls(model)
    found: list[Block] = []
    nested: dict[int, Any] = {}
    maker = {id(tensor): call for call in calls for tensor in call.outputs}
    readers: dict[int, set[int]] = {}
    for call in calls:
        for tensor in call.inputs:
            readers.setdefault(id(tensor), set()).add(id(call.node))
    outputs = {id(tensor) for tensor in model.outputs}
    for call in calls:
        if has_graph(call.operation) and id(call.operation) not in nested:
            nested[id(call.operation)] = call.operation
            found += find_blocks(call.operation)
        block = _block_at(call, maker, readers, outputs)
        if block is not None and not any(other.addition in block.inside for other in found):
            found.append(block)
    return found


def _block_at(
    call: GraphCall,
    maker: dict[int, GraphCall],
    readers: dict[int, set[int]],
    outputs: set[int],
) -> Block | None:
    if not _adds(call):
        return None
    for shortcut in call.inputs:
        others = [tensor for tensor in call.inputs if tensor is not shortcut]
        if not others or tuple(shortcut.shape) != tuple(call.outputs[0].shape):
            continue
        inside = _between(shortcut, others, maker)
        if not inside:
            continue
        nodes = {id(part.node) for part in inside}
        read = set().union(*(readers.get(id(t), set()) for part in inside for t in part.outputs))
        seen = any(id(t) in outputs for part in inside for t in part.outputs)
        if read <= nodes | {id(call.node)} and not seen:
            name = call.operation.name
            return Block(name, id(call.node), id(shortcut), frozenset(nodes))
    return None


def _adds(call: GraphCall) -> bool:
    return isinstance(call.operation, keras.layers.Add) or ops_class(call.operation) == "Add"


def _between(
    start: Any, ends: Sequence[Any], maker: dict[int, GraphCall]
) -> list[GraphCall] | None:
    """Returns the calls between one tensor and others; None if the others also depend on more."""
    found: dict[int, GraphCall] = {}
    pending = list(ends)
    while pending:
        tensor = pending.pop()
        if tensor is start:
            continue
        call = maker.get(id(tensor))
        if call is None:  # an input of the model
            return None
        if id(call.node) not in found:
            found[id(call.node)] = call
            pending += call.inputs
    return list(found.values())


class Dropped:
    """Blocks that are left out when a graph is executed.

    Args:
        blocks: The blocks.
    """

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        blocks = list(blocks)
        self._shortcuts = {block.addition: block.shortcut for block in blocks}
        self._inside = frozenset().union(*(block.inside for block in blocks))

    def replaces(self, call: GraphCall, values: dict[int, Any]) -> list[Any] | None:
        """Returns the outputs of a call without the blocks; None if it is called as usual."""
        if id(call.node) in self._shortcuts:
            return [values[self._shortcuts[id(call.node)]]]
        if id(call.node) in self._inside:
            return [None] * len(call.outputs)  # no layer reads it
        return None


def run_without(model: keras.Model, x: Any, blocks: Iterable[Block]) -> list[Any]:
    """Returns the flat outputs of a model in inference mode, without some blocks."""
    dropped = Dropped(blocks)

    def visit(call: GraphCall, values: dict[int, Any]) -> list[Any]:
        replaced = dropped.replaces(call, values)
        if replaced is not None:
            return replaced
        if has_graph(call.operation):
            return follow(call.operation, [values[id(t)] for t in call.inputs], visit)
        return call_operation(call, values)

    return follow(model, [tf.convert_to_tensor(a) for a in keras.tree.flatten(x)], visit)


def blocks_to_drop(model: keras.Model, depth: float, inputs: Sequence[Any]) -> list[Block]:
    """Chooses the least important residual blocks, which are to be removed.

    The importance of a block is the squared change of the logits when only this block is left out,
    divided by the squared logits.

    Args:
        model: A model with a graph.
        depth: The fraction of blocks to keep.
        inputs: Batches, in the structure of the model.

    Raises:
        InputError: If no block can be removed.
    """
    blocks = find_blocks(model)
    if not blocks:
        raise InputError(
            f"`depth` drops residual blocks, x + f(x), and `model` {model.name!r} has none whose"
            " shapes allow it. Give `width` alone."
        )
    count = len(blocks) - round(depth * len(blocks))
    reference = [_logits(run_without(model, x, ())) for x in inputs]
    change = [
        sum(
            float(np.sum(np.square(a - b)) / max(float(np.sum(np.square(b))), 1e-30))
            for x, full in zip(inputs, reference, strict=True)
            for a, b in zip(_logits(run_without(model, x, [block])), full, strict=True)
        )
        for block in blocks
    ]
    least = np.argsort(change, kind="stable")[:count]
    return [blocks[place] for place in sorted(least)]


def _logits(outputs: list[Any]) -> list[Any]:
    """Returns the logits before softmax and sigmoid, where Keras has stored them."""
    found = [activation_input(y) for y in outputs]
    return [
        np.asarray(y if z is None else z, np.float64) for y, z in zip(outputs, found, strict=True)
    ]
