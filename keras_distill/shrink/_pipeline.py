"""Runs the steps that make a model narrower."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from keras_distill._internal import InputError, bad
from keras_distill._internal._types import Array
from keras_distill.records import ShrinkRecord
from keras_distill.shrink._acceptance import accept, accept_shallower
from keras_distill.shrink._analysis import Analysis, analyze, check_model
from keras_distill.shrink._budget import Budget
from keras_distill.shrink._cost import Costs
from keras_distill.shrink._data import Batch, batches, loss_of
from keras_distill.shrink._depth import Block, blocks_to_drop
from keras_distill.shrink._importance import importance_of
from keras_distill.shrink._measured import measured_choice
from keras_distill.shrink._rebuild import rebuild
from keras_distill.shrink._recalibrate import recalibrate
from keras_distill.shrink._report import make_record
from keras_distill.shrink._select import by_width, within
from keras_distill.shrink._settings import Settings


class Shrunk(NamedTuple):
    """A narrower model, and the record of what was removed."""

    model: keras.Model
    record: ShrinkRecord


def shrunk(
    model: keras.Model,
    settings: Settings,
    data: Any = None,
    *,
    measure: bool = True,
    export: Mapping[str, Any] | None = None,
) -> Shrunk:
    """Returns a narrower model; see `shrink`.

    Args:
        model: The model.
        settings: The settings.
        data: Examples, or None.
        measure: Whether to measure a budget of bytes or latency. If False, such a budget removes
            nothing.
        export: More fields of `ExportOptions`, for the files that are measured.

    Raises:
        InputError: See `shrink`.
        VerificationError: See `shrink`.
    """
    if data is None and settings.needs_data:
        raise InputError(f"`data` must be given for {settings.needs_data}.")
    check_model(model)
    examples = [] if data is None else batches(model, data)
    shallow, blocks = model, []
    if settings.depth is not None:
        shallow, blocks = _shallower(model, settings.depth, examples)
    analysis = analyze(shallow, settings.skip)
    if not analysis.groups and settings.depth is None:
        raise _nothing_to_remove(analysis)
    keep, measured = _choose(model, analysis, settings, examples, export or {}, measure=measure)
    narrow = rebuild(analysis, keep)
    found = accept(analysis, keep, narrow, _few(model, examples))
    recalibrated = recalibrate(narrow.model, [batch.x for batch in examples])
    width = settings.width
    record = make_record(
        model,
        analysis,
        keep,
        narrow.model,
        found,
        width=dict(width) if isinstance(width, Mapping) else width,
        depth=settings.depth,
        budget=None if settings.budget is None else settings.budget.text,
        importance=settings.importance,
        multiple=settings.multiple,
        skip=settings.skip,
        measured=measured,
        removed_blocks=tuple(block.name for block in blocks),
        recalibrated=recalibrated if examples else 0,
    )
    return Shrunk(narrow.model, record)


def _shallower(
    model: keras.Model, depth: float, examples: list[Batch]
) -> tuple[keras.Model, list[Block]]:
    blocks = blocks_to_drop(model, depth, [batch.x for batch in examples])
    analysis = analyze(model)
    result = rebuild(analysis, analysis.all(), blocks)
    accept_shallower(model, blocks, result, _few(model, examples))
    return result.model, blocks


def _choose(
    model: keras.Model,
    analysis: Analysis,
    settings: Settings,
    examples: list[Batch],
    export: Mapping[str, Any],
    *,
    measure: bool,
) -> tuple[Array, float | None]:
    """Returns the kept units, and the measured value of a budget of bytes or latency."""
    budget, multiple = settings.budget, settings.multiple
    if settings.width is None and (budget is None or (budget.is_measured and not measure)):
        return analysis.all(), None
    ranks_by_loss = settings.importance == "taylor"
    loss = loss_of(analysis.model, examples[0]) if ranks_by_loss else None
    score = importance_of(analysis, settings.importance, examples, loss)
    if settings.width is not None:
        return by_width(analysis, score, settings.width, multiple), None
    assert budget is not None
    if budget.is_measured:
        return measured_choice(model, analysis, score, budget, multiple, export)
    return _within(analysis, score, budget, multiple), None


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


def _nothing_to_remove(analysis: Analysis) -> InputError:
    why = "; ".join(f"{n.layer} ({n.kind}): {n.reason}" for n in analysis.notes[:3])
    return InputError(
        f"`model` {analysis.model.name!r} has no channels that can be removed: those of its inputs"
        " and outputs stay, and there are no layers between them that are understood"
        + (f" ({why})." if why else ".")
    )


def _few(model: keras.Model, examples: list[Batch]) -> Any:
    """Returns two examples for the check, or as many as the model's batch size requires."""
    if not examples:
        return None
    rows = model.inputs[0].shape[0] or 2
    return keras.tree.map_structure(lambda a: a[:rows], examples[0].x)
