"""Opens and combines the teachers that a recipe may name."""

from pathlib import Path
from typing import Any

from keras_distill import models
from keras_distill._internal import InputError, _files, _user_code, bad
from keras_distill.records import ENSEMBLE_FORMAT, Recipe, TeacherPart
from keras_distill.runs._losses import distillation_losses
from keras_distill.targets import SoftTargetStore
from keras_distill.teachers import (
    AdaptedTeacher,
    ClassMap,
    Teacher,
    TeacherEnsemble,
    as_teacher,
    read_classes,
)

_STORE, _ENSEMBLE = "manifest.json", "ensemble.json"


def is_spec(source: str) -> bool:
    """Returns whether a source is the spec of a model that the run trains."""
    return not (source.startswith("py:") or models.is_file(source))


def is_keras(source: str) -> bool:
    """Returns whether a source is a Keras model: a spec, or a `.keras` file.

    Raises:
        InputError: If the source is the path of something that is not a model.
    """
    if is_spec(source):
        return True
    takes = models.TEACHERS
    return models.is_file(source) and models.model_file(source, takes).kind == models.KERAS


def stored_teacher(recipe: Recipe) -> SoftTargetStore | None:
    """Opens the store of soft targets that a recipe names as its teacher; None if it names none.

    Raises:
        InputError: If the store cannot be opened, or is one of several teachers.
    """
    sources = recipe.teacher.models
    stores = [source for source in sources if (Path(source) / _STORE).is_file()]
    if not stores:
        return None
    if len(sources) > 1:
        raise bad("teacher.model", "be one store, or teachers that run", list(sources))
    return SoftTargetStore.open(stores[0])


def open_teacher(source: str, part: TeacherPart, imports: tuple[str, ...]) -> Teacher:
    """Opens a teacher that is not trained by the run.

    Args:
        source: A file, a folder, or `py:package.module:function`.
        part: The settings of the recipe.
        imports: Modules that register custom layers.

    Raises:
        InputError: If the source does not exist, or cannot be used as a teacher.
    """
    return _opened(source, part, imports).declared(part.from_probabilities)


def _opened(source: str, part: TeacherPart, imports: tuple[str, ...]) -> Teacher:
    if _holds_specialists(path := Path(source).expanduser()):
        from keras_distill.specialists import SpecialistEnsemble

        return SpecialistEnsemble.load(path, imports=imports)
    return as_teacher(source, imports=imports, threads=part.threads)


def _holds_specialists(folder: Path) -> bool:
    try:
        found = _files.read_json(folder / _ENSEMBLE)
    except InputError:
        return False
    return isinstance(found, dict) and found.get("format") == ENSEMBLE_FORMAT


def compose(
    members: list[Teacher],
    recipe: Recipe,
    *,
    student_names: tuple[str, ...],
    teacher_names: tuple[str, ...] | None,
    x: Any,
) -> Teacher:
    """Combines members to the teacher that a recipe describes: their mean, with mapped classes.

    Args:
        members: The opened or trained teachers.
        recipe: The recipe.
        student_names: Names of the student's classes.
        teacher_names: Names of the classes of the data on which the teacher is trained; None if
            they are unknown.
        x: A batch of a few examples of the data.

    Raises:
        InputError: If the settings do not match the members.
    """
    part = recipe.teacher
    teacher = members[0]
    if len(members) > 1:
        temperature = None
        if part.mean == "arithmetic":
            temperature = _one_temperature(recipe)
        teacher = TeacherEnsemble(members, mean=part.mean, temperature=temperature)
    preprocess = None
    if part.preprocess is not None:
        preprocess = _user_code.function_of("preprocess", part.preprocess)
    if part.classes is None and preprocess is None:
        return teacher
    classes = None
    if part.classes is not None:
        names = _class_names(part) or teacher_names
        converted = x if preprocess is None else preprocess(x)
        classes = ClassMap.of(
            part.classes, student=student_names, teacher=names, count=_width(teacher, converted)
        )
    return AdaptedTeacher(teacher, classes, preprocess=preprocess, name=part.preprocess)


def _one_temperature(recipe: Recipe) -> float:
    """Returns the temperature of an arithmetic mean, which must be that of every loss.

    Raises:
        InputError: If a loss has another temperature, or cannot use an arithmetic mean.
    """
    temperature = recipe.distillation.temperature
    losses = distillation_losses(recipe.distillation, 1).get("distillation_losses", ())
    others = [loss for loss in losses if type(loss).__name__ != "SoftTargetLoss"]
    if others or not isinstance(temperature, float | int):
        raise InputError(
            "`mean` must be geometric with these losses: an arithmetic mean is valid for"
            " SoftTargetLoss at one temperature, a number. Received:"
            f" mean='arithmetic', {recipe.distillation}"
        )
    if any(loss.temperature != temperature for loss in losses):
        raise InputError(
            "`mean` must be geometric where a loss has a temperature of its own. Received:"
            f" mean='arithmetic', {recipe.distillation}"
        )
    return float(temperature)


def _class_names(part: TeacherPart) -> tuple[str, ...] | None:
    if isinstance(part.class_names, str):
        return tuple(str(name) for name in read_classes(part.class_names))
    return part.class_names


def _width(teacher: Teacher, x: Any) -> int:
    """Returns the number of a teacher's classes; runs the teacher on x if necessary."""
    shapes = teacher.output_shapes
    if shapes is not None and len(shapes) == 1:
        last = next(iter(shapes.values()))[-1]
        if last is not None:
            return last
    logits = teacher.predict(x)
    if isinstance(logits, dict):
        raise InputError(
            "`classes` must be left out for a teacher with several outputs. Received: outputs"
            f" {', '.join(logits)}."
        )
    return logits.shape[-1]
