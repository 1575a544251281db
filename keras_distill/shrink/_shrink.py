"""`kd.shrink`: a narrower model that inherits the most important channels of a given one."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

import keras

from keras_distill._internal import _files
from keras_distill._internal._types import PathLike
from keras_distill.records import ShrinkRecord
from keras_distill.shrink._pipeline import shrunk
from keras_distill.shrink._settings import Settings

Report: TypeAlias = PathLike | Callable[[ShrinkRecord], object]


def shrink(
    model: keras.Model,
    *,
    width: float | Mapping[str, float] | None = None,
    depth: float | None = None,
    budget: str | None = None,
    importance: str = "l2",
    data: Any = None,
    multiple: int = 8,
    skip: Collection[str] = (),
    report: Report | None = None,
) -> keras.Model:
    """Makes a narrower model that inherits the most important channels of a trained one.

    Structured pruning: whole channels, units, and attention heads are removed from every layer that
    makes, moves, or reads them, so that the result is smaller and faster everywhere, without sparse
    kernels. Train it afterwards, best on the soft targets of the given model: `kd.Distiller`.

    Which channels can only be removed together follows from the graph of the model, as in DepGraph
    (Fang et al. 2023, arXiv:2301.12900). Channels of layers that are not understood, such as
    Lambda, custom layers (see `register_handler`), and products of activations, stay.

    Every result is checked before it is returned: a copy with all channels must give exactly the
    outputs of the model, and where nothing reads the removed units, the narrower model must compute
    the same numbers in every layer.

    Args:
        model: A Functional or built Sequential model; it is not changed.
        width: The share of units to keep in each layer, > 0 and <= 1; or shares by the name of a
            layer, 1 for the others.
        depth: The share of residual blocks, x + f(x), to keep, > 0 and <= 1. Blocks whose shortcut
            is the identity are dropped whole, those first whose absence changes the logits on
            `data` least; this comes before the width.
        budget: What the result may cost, in place of a width: "params=100k"; "macs=2.5M"
            (multiplications and additions for one example); "bytes=98k:int8", of the `.tflite` file
            in a precision; or "latency=0.2", that of the float32 file relative to the model's. The
            last two export and measure a few candidates. The least important units of all layers
            go first; each layer keeps at least 1/32.
        importance: How units are ranked: "l1" or "l2", the norm of their weights; "bn", the scale
            of their batch normalization; "taylor", the first-order change of the loss on `data`;
            "activation", their mean magnitude on `data`.
        data: Examples for `importance` and `depth`, and to measure the statistics of batch
            normalizations again in the narrower model: a data spec (its training split), a
            `tf.data.Dataset` of x or (x, y), batched or not, or arrays. At most 512 are used.
        multiple: Numbers of channels are multiples of it, where a layer has as many: interpreters
            compute several channels at once.
        skip: Names or paths of layers whose channels stay.
        report: Where the record of what was removed goes: the path of a `.json` file to write, or a
            function that is called with the `ShrinkRecord`.

    Returns:
        A new model with the same layers, inputs, and outputs; not compiled.

    Raises:
        InputError: If an argument breaks its rule, the model has no graph or no channels that can
            be removed, or even the smallest result is over the budget.
        VerificationError: If the check fails. No model is returned.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(3)]
        ... )
        >>> student = shrink(model, width=0.5)
        >>> student.layers[0].units, model.layers[0].units, student.count_params()
        (32, 64, 259)
        >>> shrink(model, budget="params=200").count_params()
        195
    """
    settings = Settings.of(
        width=width,
        depth=depth,
        budget=budget,
        importance=importance,
        multiple=multiple,
        skip=skip,
    )
    path = None if report is None or callable(report) else _files.check_output(report)
    result = shrunk(model, settings, data)
    if callable(report):
        report(result.record)
    elif path is not None:
        result.record.save(path)
    return result.model
