"""`kd.shrink`: a narrower model that inherits the most important channels of a given one."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

import keras

from keras_distill._internal import InputError, _files, bad, check_choice, check_count
from keras_distill._internal._types import Array, PathLike
from keras_distill.records import ShrinkRecord
from keras_distill.shrink._acceptance import accept
from keras_distill.shrink._analysis import Analysis, analyze
from keras_distill.shrink._budget import Budget
from keras_distill.shrink._cost import Costs
from keras_distill.shrink._data import Batch, batches, loss_of
from keras_distill.shrink._importance import CHOICES, NEED_DATA, importance_of
from keras_distill.shrink._rebuild import rebuild
from keras_distill.shrink._recalibrate import recalibrate
from keras_distill.shrink._report import make_record
from keras_distill.shrink._select import by_width, within

Report: TypeAlias = PathLike | Callable[[ShrinkRecord], object]

_MAX_MULTIPLE = 1024


def shrink(
    model: keras.Model,
    *,
    width: float | Mapping[str, float] | None = None,
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
        budget: What the result may cost, in place of a width: "params=100k", or "macs=2.5M"
            (multiplications and additions for one example). The least important units of all
            layers go first; each layer keeps at least 1/16.
        importance: How units are ranked: "l1" or "l2", the norm of their weights; "bn", the scale
            of their batch normalization; "taylor", the first-order change of the loss on `data`;
            "activation", their mean magnitude on `data`.
        data: Examples for the importance, and to measure the statistics of batch normalizations
            again in the narrower model: a data spec (its training split), a `tf.data.Dataset` of x
            or (x, y), batched or not, or arrays. At most 512 examples are used.
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
    limit = _check(width, budget, importance, data, multiple)
    path = None if report is None or callable(report) else _files.check_output(report)
    analysis = analyze(model, skip)
    if not analysis.groups:
        raise _nothing_to_remove(analysis)
    examples = [] if data is None else batches(model, data)
    score = _score(analysis, importance, examples)
    keep = (
        by_width(analysis, score, 1.0 if width is None else width, multiple)
        if limit is None
        else _within(analysis, score, limit, multiple)
    )
    narrow = rebuild(analysis, keep)
    found = accept(analysis, keep, narrow, _few(model, examples))
    recalibrated = recalibrate(narrow.model, [batch.x for batch in examples])
    if report is not None:
        record = make_record(
            analysis,
            keep,
            narrow.model,
            found,
            width=dict(width) if isinstance(width, Mapping) else width,
            budget=budget,
            importance=importance,
            multiple=multiple,
            skip=tuple(skip),
            recalibrated=recalibrated if examples else 0,
        )
        if callable(report):
            report(record)
        else:
            assert path is not None
            record.save(path)
    return narrow.model


def _check(width: Any, budget: Any, importance: str, data: Any, multiple: int) -> Budget | None:
    if (width is None) == (budget is None):
        raise InputError(
            f"Give either `width` or `budget`. Received: width={width!r:.60}, budget={budget!r:.60}"
        )
    check_choice("importance", importance, CHOICES)
    check_count("multiple", multiple, at_most=_MAX_MULTIPLE)
    if importance in NEED_DATA and data is None:
        raise InputError(f"`data` must be given for importance={importance!r}.")
    return None if budget is None else Budget.parse(budget)


def _nothing_to_remove(analysis: Analysis) -> InputError:
    why = "; ".join(f"{n.layer} ({n.kind}): {n.reason}" for n in analysis.notes[:3])
    return InputError(
        f"`model` {analysis.model.name!r} has no channels that can be removed: those of its inputs"
        " and outputs stay, and there are no layers between them that are understood"
        + (f" ({why})." if why else ".")
    )


def _score(analysis: Analysis, importance: str, examples: list[Batch]) -> Array:
    loss = loss_of(analysis.model, examples[0]) if importance == "taylor" else None
    return importance_of(analysis, importance, examples, loss)


def _within(analysis: Analysis, score: Array, budget: Budget, multiple: int) -> Array:
    costs = Costs(analysis)

    def cost(keep: Array) -> int:
        total = costs.total(keep)
        return total.parameters if budget.kind == "params" else total.macs

    keep, fits = within(analysis, score, lambda keep: cost(keep) <= budget.limit, multiple)
    if not fits:
        raise bad(
            "budget",
            f"be >= {budget.kind}={cost(keep)}, the smallest that {analysis.model.name!r} allows",
            budget.text,
        )
    return keep


def _few(model: keras.Model, examples: list[Batch]) -> Any:
    """Returns two examples for the check, or as many as the model takes at once."""
    if not examples:
        return None
    rows = model.inputs[0].shape[0] or 2
    return keras.tree.map_structure(lambda a: a[:rows], examples[0].x)
