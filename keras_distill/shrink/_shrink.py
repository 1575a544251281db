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

    This is structured pruning: it removes whole channels, units, and attention heads from every
    layer that produces, moves, or reads them. The result is smaller and faster on any runtime,
    without sparse kernels. Train it afterward, preferably on the soft targets of the original
    model, with `kd.Distiller`.

    The graph of the model determines which channels can only be removed together, as in DepGraph
    (Fang et al. 2023, arXiv:2301.12900). Channels of layers that are not supported are kept, for
    example of Lambda, custom layers (see `register_handler`), and products of activations.

    Every result is checked before it is returned: a copy with all channels must produce exactly the
    outputs of the model. If the weights that read the removed units are set to 0 in that copy, the
    narrower model must compute the same numbers in every layer.

    Args:
        model: A Functional or built Sequential model; it is not changed.
        width: The fraction of units to keep in each layer, > 0 and <= 1; or fractions by layer
            name, 1 for other layers.
        depth: The fraction of residual blocks, x + f(x), to keep, > 0 and <= 1. Blocks whose
            shortcut is the identity are removed as a whole, starting with the block whose removal
            changes the logits on `data` least. Blocks are removed before `width` is applied.
        budget: The maximum cost of the result, instead of a width: "params=100k"; "macs=2.5M"
            (multiply-accumulate operations per example); "bytes=98k:int8", the size of the
            `.tflite` file in a precision; or "latency=0.2", the latency of the float32 file
            relative to the model's. The last two export and measure a few candidates. The least
            important units of all layers are removed first; each layer keeps at least 1/32.
        importance: How units are ranked: "l1" or "l2", the norm of their weights; "bn", the scale
            of their batch normalization; "taylor", the first-order change of the loss on `data`;
            "activation", their mean magnitude on `data`.
        data: Examples for `importance` and `depth`, and for recomputing the statistics of batch
            normalization layers in the narrower model: a data spec (its training split), a
            `tf.data.Dataset` of x or (x, y), batched or not, or arrays. At most 512 are used.
        multiple: Numbers of channels are rounded to multiples of this number, if a layer has at
            least that many, because interpreters compute several channels at once.
        skip: Names or paths of layers whose channels are kept.
        report: Receives the record of what was removed: the path of a `.json` file to write, or a
            function that is called with the `ShrinkRecord`.

    Returns:
        A new model with the same layers, inputs, and outputs; not compiled.

    Raises:
        InputError: If an argument is not valid, the model has no graph or no channels that can be
            removed, or even the smallest result is over the budget.
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
