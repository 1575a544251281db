"""Finds which operators of a `.tflite` file XNNPACK runs, and which LiteRT's kernels run."""

from collections import Counter
from pathlib import Path

from keras_distill._internal import InputError
from keras_distill._internal._device_targets import XNNPACK
from keras_distill.litert import IsolatedModel, read_graph
from keras_distill.records import TakenRecord, XNNPACKResult


def count_delegated(path: Path) -> XNNPACKResult:
    """Loads a file with LiteRT's default delegate and returns which operators the delegate runs.

    The operators of the main graph are counted, but not those in the body of a loop. XNNPACK
    decides by operator, shapes, and types, and partly by the processor, so the result is valid for
    this machine.

    Args:
        path: The file.

    Raises:
        InputError: If `path` is not a `.tflite` file.
    """
    graph = read_graph(path)
    operators = graph.subgraphs[0].ops if graph.subgraphs else ()
    try:
        with IsolatedModel(path) as model:
            taken = set(model.delegated())
    except InputError as error:
        reason = f"{error:.200}".removeprefix(f"{path}: ")
        return XNNPACKResult(target=XNNPACK, runs=False, reason=reason, operators=len(operators))
    names = [graph.precision_of(op) for op in operators]
    every, mine = Counter(names), Counter(n for i, n in enumerate(names) if i in taken)
    left = Counter(op.name for i, op in enumerate(operators) if i not in taken)
    return XNNPACKResult(
        target=XNNPACK,
        runs=True,
        operators=len(operators),
        taken=len(taken),
        left=dict(left.most_common()),
        by_precision={
            name: TakenRecord(operators=count, taken=mine[name])
            for name, count in every.most_common()
        },
    )
