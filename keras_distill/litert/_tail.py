"""Finds the softmax or sigmoid at the end of a `.tflite` file, and makes its input an output.

The file computes the logits one tensor before the probabilities, which a quantized file rounds to
256 steps. Only the indices of the output tensors are changed, in a copy of the file's bytes. No
table is rewritten. The activation still runs, but its result is not used.
"""

import struct
from typing import Any, Literal, NamedTuple

from ai_edge_litert import schema_py_generated as schema

from keras_distill.litert._parser import Graph, refuses_damage
from keras_distill.litert._subgraph import Op, Subgraph

_ACTIVATIONS: dict[str, Literal["softmax", "sigmoid"]] = {
    "SOFTMAX": "softmax",
    "LOGISTIC": "sigmoid",
}
_CASTS = ("DEQUANTIZE", "QUANTIZE")
_SHAPES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
_LONGEST = 8  # operators from an output back to its activation, which is counted too
_TENSOR_INDEX = 6  # vtable offset of TensorMap.tensor_index


class Tail(NamedTuple):
    """An output that ends in softmax or sigmoid.

    Attributes:
        kind: The activation.
        output: The index of the output tensor.
        logits: The index of the tensor that the activation reads.
        scale: The factor (beta) by which the softmax multiplies the logits; 1 in nearly every file.
    """

    kind: Literal["softmax", "sigmoid"]
    output: int
    logits: int
    scale: float = 1.0


class WithLogits(NamedTuple):
    """A file in which logits have replaced probabilities as outputs.

    Attributes:
        tails: The outputs that ended in softmax or sigmoid; empty if `content` is None.
        content: The bytes of the changed file, or None if nothing can be changed.
    """

    tails: tuple[Tail, ...]
    content: bytes | None


@refuses_damage
def with_logits(graph: Graph) -> WithLogits:
    """Replaces the outputs of a file that end in softmax or sigmoid by their logits.

    Casts may follow the activation, and so may reshapes that keep the last axis.

    Args:
        graph: The file, which is not changed.

    Raises:
        InputError: If the file is damaged.
    """
    tails = _find_tails(graph)
    content = _changed(graph, tails) if tails else None
    return WithLogits(() if content is None else tuple(tails.values()), content)


def _find_tails(graph: Graph) -> dict[int, Tail]:
    """Returns the outputs of the main graph that end in softmax or sigmoid, by output position."""
    main = graph.subgraphs[0]
    makers = {output: op for op in main.ops for output in op.outputs}
    found = {i: _tail(main, makers, output) for i, output in enumerate(main.outputs)}
    return {i: tail for i, tail in found.items() if tail is not None}


def _tail(main: Subgraph, makers: dict[int, Op], output: int) -> Tail | None:
    current = output
    for _ in range(_LONGEST):
        op = makers.get(current)
        if op is None or not op.inputs:
            return None
        before = op.inputs[0]
        if before < 0:
            return None
        if op.name in _ACTIVATIONS:
            kind = _ACTIVATIONS[op.name]
            return Tail(kind, output, before, _beta(op) if kind == "softmax" else 1.0)
        last = main.tensors[before].shape[-1:], main.tensors[current].shape[-1:]
        if op.name not in _CASTS and (op.name not in _SHAPES or last[0] != last[1]):
            return None
        current = before
    return None


def _beta(op: Op) -> float:
    options, union = schema.SoftmaxOptions(), op.table.BuiltinOptions()
    options.Init(union.Bytes, union.Pos)
    return float(options.Beta())


def _changed(graph: Graph, tails: dict[int, Tail]) -> bytes | None:
    """Returns the bytes of the file with logits as outputs, or None if that is not possible."""
    content = bytearray(graph.content)
    model: Any = schema.Model.GetRootAs(content)
    outputs = model.Subgraphs(0).OutputsAsNumpy()  # a view of the bytes
    moved = {tail.output: tail.logits for tail in tails.values()}
    for position, tail in tails.items():
        outputs[position] = tail.logits
    for i in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(i)
        if signature.SubgraphIndex() != 0:
            continue
        for j in range(signature.OutputsLength()):
            entry = signature.Outputs(j)
            if entry.TensorIndex() not in moved:
                continue
            field = entry._tab.Offset(_TENSOR_INDEX)
            if field == 0:  # the index 0 is not stored, so it cannot be changed in place
                return None
            place = entry._tab.Pos + field
            struct.pack_into("<I", content, place, moved[entry.TensorIndex()])
    return bytes(content)
