"""Makes a student from the teacher, for specs such as "shrink:0.5"."""

from typing import TYPE_CHECKING

import keras

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill.records import AUTO, ShrinkRecord
from keras_distill.runs._teacher_sources import is_keras
from keras_distill.shrink import Settings, bytes_per_weight, is_shrink_spec, shrunk

if TYPE_CHECKING:
    from keras_distill.runs._context import RunContext

_MODEL, _RECORD = "shrunk.keras", "shrunk.json"
CHOSEN = "chosen.keras"
"""The student that a search has found."""


def shrink_teacher(context: "RunContext", teacher: keras.Model | None) -> ShrinkRecord | None:
    """Makes the narrower teacher from which all students start, if the recipe's spec is "shrink:…".

    The result of an earlier session of the run is reused.

    Args:
        context: The run.
        teacher: The teacher; None if it is not a Keras model.

    Returns:
        The record of the removed parts; None if the student has another spec.

    Raises:
        InputError: If the teacher is not a Keras model, or cannot be made this narrow.
    """
    spec = context.recipe.student.model
    if not is_shrink_spec(spec):
        return None
    path = context.folder.scratch / _RECORD
    if not path.exists():
        context.reporter.stage("shrink", f"{spec} of {context.recipe.teacher}")
        settings, options = Settings.parse(spec), context.file_options
        result = shrunk(_checked(teacher), settings, context.splits, export=options)
        models.save_uncompiled(result.model, context.folder.scratch / _MODEL)
        result.record.save(path)
    return ShrinkRecord.load(path)


def student_spec(context: "RunContext") -> str:
    """Returns the spec from which the student is built; for a shrunk teacher, it is a file."""
    spec = context.recipe.student.model
    if spec == AUTO:
        return str(context.folder.scratch / CHOSEN)
    return str(context.folder.scratch / _MODEL) if is_shrink_spec(spec) else spec


def checked_student(context: "RunContext") -> keras.Model:
    """Builds the student for checks; a narrower teacher is made from an untrained teacher.

    Raises:
        InputError: If the spec is not valid, or the teacher cannot be made this narrow.
    """
    spec = context.recipe.student.model
    if spec != AUTO and not is_shrink_spec(spec):
        models.parse(spec, name="student")
        return context.build(spec, seed=context.recipe.seeds[0])
    teacher = untrained_teacher(context)
    if spec == AUTO:  # the teacher represents its narrower copies, which have the same layers
        return teacher if teacher is not None else _first_candidate(context)
    settings = Settings.parse(spec)
    return shrunk(_checked(teacher), settings, context.splits, measure=False).model


def untrained_teacher(context: "RunContext") -> keras.Model | None:
    """Builds or loads the teacher, without training it; None unless it is one Keras model."""
    part = context.recipe.teacher
    given = part.models[0]
    is_model = context.store is None and is_keras(given) and part.classes is None
    one = is_model and len(part.models) * part.members == 1
    return context.build(given) if one else None


def planned_student(context: "RunContext", precision: str) -> keras.Model:
    """Builds a student as large as the budget allows, like the one that a search will find.

    Args:
        context: The run.
        precision: The precision of the file whose size is limited.
    """
    model, budget = checked_student(context), context.recipe.budget
    if budget is None or untrained_teacher(context) is None:
        return model
    parameters = int(budget.max_bytes / bytes_per_weight(precision))
    if model.count_params() <= parameters:
        return model
    try:
        return shrunk(model, Settings.of(budget=f"params={parameters}"), measure=False).model
    except InputError:  # no such width; with folded normalizations, files are smaller than assumed
        return model


def _first_candidate(context: "RunContext") -> keras.Model:
    budget = context.recipe.budget
    if budget is None or not budget.candidates:
        raise InputError(
            "`budget.candidates` must be given for a teacher that is no Keras model: it cannot be"
            " made narrower."
        )
    return context.build(budget.candidates[0])


def _checked(teacher: keras.Model | None) -> keras.Model:
    if teacher is None:
        raise InputError(
            "`student` can be shrink:… only if the teacher is a Keras model, whose channels it"
            " inherits. Give a model spec or a .keras file as the teacher."
        )
    return teacher
