"""Checks of data, teacher, and student before the first step."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_distill import models
from keras_distill._internal import InputError, bad
from keras_distill._internal._types import Outputs, Schedule
from keras_distill.losses import DistillationLoss, RegressionLoss, SoftTargetLoss, check_setting
from keras_distill.metrics import Task
from keras_distill.teachers import ONLY, Head, ModelReader, Teacher, outputs_by_name
from keras_distill.training._data import Given
from keras_distill.training._terms import (
    NOT_FINITE,
    Default,
    SoftTerms,
    check_without_labels,
    layer_names,
    split,
)
from keras_distill.training._views import Pair, match_unit_shapes, no_teacher

DEFAULT_TEMPERATURE = 4.0
_ROWS = 32  # rows that are read to detect a teacher that returns probabilities


def soft_terms(losses: Any, weights: Any, temperature: Schedule | None) -> SoftTerms:
    """Returns the soft terms of a Distiller.

    Args:
        losses: `distillation_losses` of the Distiller; None to choose the losses by the tasks.
        weights: `distillation_loss_weights` of the Distiller.
        temperature: Temperature of the default losses; None if it is not given.

    Raises:
        InputError: If the losses or weights are invalid, or both losses and a temperature are
            given.
    """
    if losses is None:
        given = temperature is not None
        chosen: Schedule = DEFAULT_TEMPERATURE if temperature is None else temperature
        terms = flatten_losses(SoftTargetLoss(chosen), weights)
        return SoftTerms(*terms, Default(chosen, terms[1][0], given))
    if temperature is not None:
        rule, remedy = "be left out if distillation_losses are given", "Give it to the losses."
        raise bad("temperature", rule, temperature, remedy)
    return SoftTerms(*flatten_losses(losses, weights))


def check_alpha(alpha: Schedule) -> Schedule:
    """Returns alpha if the number, or the known values of its schedule, are in 0..1.

    Raises:
        InputError: If alpha is out of range.
    """
    return check_setting("alpha", alpha, at_least=0, at_most=1)


def check_shapes(soft: SoftTerms, teacher: Outputs | None, student: Outputs | None) -> None:
    """Checks the losses on logits against shapes known before the first step.

    Args:
        soft: The losses.
        teacher: Objects with a shape, or `TopK`s of these, by output name; None if unknown.
        student: Objects with a shape by output name; None if unknown.

    Raises:
        InputError: If an output is missing, or shapes do not match.
    """
    if teacher is None or student is None:
        return
    teacher = match_unit_shapes(teacher, student)
    for loss, only in zip(soft.losses, soft.outputs, strict=True):
        if not isinstance(loss, DistillationLoss) or layer_names(loss) != (None, None):
            continue
        for name in student if only is None else [only]:
            _check_output("teacher", teacher, name)
            _check_output("student", student, name)
            loss.validate_outputs(teacher[name], student[name])


def _check_output(role: str, outputs: Outputs, name: str) -> None:
    if name in outputs:
        return
    if ONLY in outputs:
        raise InputError(f"The {role} must have the output {name!r}. Received: one output only.")
    wanted = f"the output {name!r}" if name else "one output, as the other has"
    raise InputError(
        f"The {role} must have {wanted}. Received: outputs {', '.join(outputs)}. Outputs are"
        " matched by name: give the last layers of teacher and student the same names."
    )


def _check_one_output(teacher: Teacher, given: Outputs | None, student: Outputs | None) -> None:
    """Rejects a teacher with several outputs for a student with one output.

    Args:
        teacher: The teacher.
        given: The teacher's outputs, or objects with their shapes; None if unknown.
        student: The student's outputs, in the same form.

    Raises:
        InputError: If the teacher has several outputs and the student has one. The message names
            the output to choose.
    """
    if given is None or student is None or ONLY in given or ONLY not in student or len(given) < 2:
        return
    classes = student[ONLY].shape[-1]
    fitting = [name for name, output in given.items() if output.shape[-1] == classes]
    shown = ", ".join(f"{name} {tuple(output.shape)}" for name, output in given.items())
    raise InputError(
        f"The student has one output, and the teacher several: {shown}. Choose the one to distill:"
        f" teacher = {teacher.choice((fitting or list(given))[0])}. Or give the student outputs"
        " with the same names."
    )


def check_saved(student: keras.Model, callbacks: Any) -> None:
    """Rejects a student if a callback would save it to files that cannot be loaded.

    Args:
        student: The student.
        callbacks: The callbacks of `fit`.

    Raises:
        InputError: If the student contains a class that is not registered.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    for callback in keras.tree.flatten(callbacks):
        saves = isinstance(callback, keras.callbacks.ModelCheckpoint)
        if saves and not callback.save_weights_only:
            models.check_registered(student, "The student")


def check_values_compared(soft: SoftTerms, heads: Mapping[str, Head] | None, role: str) -> None:
    """Rejects a regression loss on a model that ends in probabilities.

    Raises:
        InputError: If such a loss is found.
    """
    for name, head in (heads or {}).items():
        compared = any(isinstance(loss, RegressionLoss) for loss in soft.for_output(name))
        if compared and head.kind in ("softmax", "sigmoid"):
            raise InputError(
                f"RegressionLoss compares values, and the {role}'s layer {head.layer!r} gives"
                " probabilities. Use SoftTargetLoss or MultiLabelSoftLoss."
            )


def check_pair(pair: Pair) -> None:
    """Checks everything about a live teacher and a student that is known without data.

    Raises:
        InputError: If teacher and student do not match.
    """
    source, reader, soft = pair.source, pair.reader, pair.soft_terms
    assert source.teacher is not None  # a live teacher
    source.check_temperature(soft.losses)
    source.check_inputs(reader.input_shapes())
    check_values_compared(soft, source.teacher.heads, "teacher")
    shapes = source.teacher.output_shapes
    symbolic: Any = shapes and {name: keras.KerasTensor(s) for name, s in shapes.items()}
    _check_one_output(source.teacher, symbolic, reader.symbolic())
    check_shapes(soft, symbolic, reader.symbolic())


def new_projectors(pair: Pair, *, trained: bool) -> dict[int, keras.Layer]:
    """Builds the missing projectors of feature losses; returns them by the index of their loss.

    Args:
        pair: Teacher, student, and losses.
        trained: Whether the student has an optimizer whose state would not match a new projector.

    Raises:
        InputError: If the teacher does not have a layer, or the existing projector does not fit.
    """
    made: dict[int, keras.Layer] = {}
    for i, loss in enumerate(pair.soft_terms.losses):
        names = layer_names(loss)
        if names[0] is None or names[1] is None or not isinstance(loss, DistillationLoss):
            continue
        assert pair.source.teacher is not None  # losses on features need a live teacher
        teacher = _feature_shapes(pair.source.teacher, names[0])
        student = _feature_shapes(pair.reader, names[1])
        if loss.teacher_weights_name is not None:
            pair.source.teacher.layer_weights(loss.teacher_weights_name)
        projector = pair.soft_terms.projectors[i]
        if projector is None:
            projector = loss.projector(teacher, student)
            unfit = trained and projector is not None
            if projector is not None and not unfit:
                if not projector.built:
                    projector.build(student)
                made[i] = projector
        else:
            unfit = not loss.projector_fits(projector, teacher, student)
        if unfit:
            raise InputError(
                f"The teacher's layer {names[0]!r} has features {teacher}, which need another"
                f" projector than {type(loss).__name__} has trained with. Make a new"
                " Distiller(teacher, distiller.student, ...)."
            )
    return made


def _feature_shapes(model: Teacher | ModelReader, names: str | tuple[str, ...]) -> Any:
    """Returns the shape of a layer's output, or a list for several layers."""
    if isinstance(names, tuple):
        return [model.feature_shape(name) for name in names]
    return model.feature_shape(names)


def _check_soft_targets(data: Given, pair: Pair, *, stored: bool) -> None:
    """Checks on the first batch that the teacher returns logits of the declared shape.

    The graph of the teacher does not show this.

    Args:
        data: The training data.
        pair: Teacher, student, and losses.
        stored: Whether the data contain soft targets, so that no live teacher runs.

    Raises:
        InputError: If the teacher does not return logits of this shape.
    """
    source, soft = pair.source, pair.soft_terms
    # Regression values may look like probabilities.
    values = [name for name, task in pair.tasks.items() if task is Task.REGRESSION]
    if stored:
        # The logits of a store were checked when it was built.
        if not data.is_store and (data.is_cheap or "stored" not in source.checked):
            soft_targets = split(data.first[1]).teacher
            if soft_targets is not None:
                source.check_stored(soft_targets, values)
        source.checked.add("stored")
        return
    live = source.teacher
    if live is not None and live.needs_check and "teacher" not in source.checked:
        logits = source.checked_logits(data.some_inputs(_ROWS), values)
        _check_one_output(live, logits, pair.reader.symbolic())
        check_shapes(soft, logits, pair.reader.symbolic())
    source.checked.add("teacher")


def check_data(data: Given, pair: Pair) -> None:
    """Checks training data; the first batch is checked only once.

    Args:
        data: The training data.
        pair: Teacher, student, and losses.

    Raises:
        InputError: If there are neither soft targets nor a teacher, if labels are missing, or if
            soft targets or the student's outputs are probabilities instead of logits.
    """
    check_known(data, pair)
    known, reader = data.known, pair.reader
    _check_soft_targets(data, pair, stored=known is not None and known.teacher is not None)
    if reader.needs_check and "student" not in pair.source.checked:
        outputs, _ = reader.call(data.first[0])
        reader.check(data.first[0], reader.logits(reader.by_name(outputs)))
        pair.source.checked.add("student")


def check_known(data: Given, pair: Pair) -> None:
    """Checks what is known about the targets before a batch is read.

    Args:
        data: The training data.
        pair: Teacher, student, and losses.

    Raises:
        InputError: As in `check_data`.
    """
    known = data.known
    if known is None:
        return
    if known.teacher is None and pair.source.teacher is None:
        raise no_teacher()
    if known.labels is None:
        check_without_labels(pair.alpha)
    if known.teacher is None:
        return
    check_shapes(pair.soft_terms, outputs_by_name(known.teacher), pair.reader.symbolic())
    arrays = [a for a in keras.tree.flatten(known.teacher) if isinstance(a, np.ndarray)]
    floats = [a for a in arrays if a.dtype.kind == "f"]
    if not all((a <= np.finfo(a.dtype).max).all() for a in floats):
        raise InputError(NOT_FINITE)


def check_validation(data: Given, pair: Pair, *, name: str) -> None:
    """Rejects validation data for which no loss can be computed, before the first epoch.

    Args:
        data: The validation data.
        pair: Teacher, student, and losses.
        name: The argument of `fit` that contains the data.

    Raises:
        InputError: If there is neither a hard nor a soft term.
    """
    known = data.known
    if known is None:
        return
    live = pair.evaluate_teacher and pair.source.teacher is not None
    soft = pair.can_evaluate(known) or live
    if pair.evaluate_teacher and not soft:
        raise InputError(
            f"`{name}` must carry soft targets, or the Distiller have a teacher, with"
            " evaluate_teacher=True. Received: neither. Use set_teacher, or leave evaluate_teacher"
            " out."
        )
    if known.labels is not None:
        return
    if not soft:
        raise InputError(
            f"`{name}` needs labels or stored soft targets: without them there is no loss to"
            " compute. Received: neither. Or give the Distiller evaluate_teacher=True."
        )
    check_without_labels(pair.alpha)


def flatten_losses(losses: Any, weights: Any) -> tuple[list[Any], list[Any], list[str | None]]:
    """Flattens one loss, a list of losses, or a dict by output name to parallel lists.

    Args:
        losses: One loss, several, or a dict from output name to one or several.
        weights: None (all 1), or numbers and schedules in the same structure.

    Returns:
        The losses, their weights, and the output of each loss (None for every output).

    Raises:
        InputError: If an item is not a loss, or the structures differ.
    """
    if isinstance(losses, dict):
        if weights is not None and (not isinstance(weights, dict) or set(weights) != set(losses)):
            raise bad("distillation_loss_weights", "be a dict with the losses' keys", weights)
        found: tuple[list, list, list] = ([], [], [])
        for name, part in losses.items():
            listed, values, _ = flatten_losses(part, None if weights is None else weights[name])
            for target, more in zip(found, (listed, values, [name] * len(listed)), strict=True):
                target.extend(more)
        return found
    listed = list(losses) if isinstance(losses, list | tuple) else [losses]
    if not listed or not all(isinstance(x, keras.distillation.DistillationLoss) for x in listed):
        raise bad(
            "distillation_losses",
            "be one or more distillation losses",
            losses,
            "Use keras_distill.losses, or subclass DistillationLoss.",
        )
    if weights is None:
        weights = [1.0] * len(listed)
    weights = list(weights) if isinstance(weights, list | tuple) else [weights]
    if len(weights) != len(listed):
        raise bad("distillation_loss_weights", f"have one per loss ({len(listed)})", weights)
    for weight in weights:
        check_setting("distillation_loss_weights", weight, at_least=0)
    return listed, weights, [None] * len(listed)
