"""The data that the stages of a run share: recipe, data set, model builder, folder, progress."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_distill import device, metrics, models
from keras_distill._internal import InputError, VerificationError
from keras_distill._internal._progress import Reporter
from keras_distill.data import Splits
from keras_distill.records import ClassifierChanges, Recipe, TeacherPart
from keras_distill.runs._loaded_data import LoadedData, as_rows, in_order, load_data
from keras_distill.runs._losses import distillation_losses, reads_layers
from keras_distill.runs._shrink import checked_student, student_spec
from keras_distill.runs._student_data import StudentData
from keras_distill.runs._teacher_sources import compose, is_spec, open_teacher, stored_teacher
from keras_distill.runs._trackers import NO_TRACKERS, Trackers
from keras_distill.targets import SoftTargetStore
from keras_distill.teachers import KerasTeacher, Teacher, TFLiteTeacher, as_teacher
from keras_distill.training import Distiller
from keras_distill.work import WorkFolder

_OTHER_CLASSES = " If it has other classes, map them to those of the data: [teacher] classes."
_ROWS = 64  # rows on which the output of the teacher is checked
_RANGE_ROWS = 256  # rows on which the value range of the teacher is checked


class FinishedFolder(NamedTuple):
    """A finished folder, used instead of the folder of a run in progress.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def scratch(self) -> Path:
        """The subfolder for the state of trainings; in a finished folder it no longer exists."""
        return self.path / "work"


@dataclass(frozen=True)
class RunContext:
    """A recipe with its loaded data, and the folder of the run.

    Attributes:
        recipe: The recipe.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers of `.keras` files.
        loaded: The loaded data.
        splits: The data set of the student.
        store: The store of soft targets that replaces the teacher; None if a teacher runs.
        student_data: The part of the data that the student sees.
        build: A function `build(spec, seed=0)` that builds a new model with the initial weights of
            that seed, or loads the model in a file.
        validation: The validation split, in order and batched.
        test: The test split, in order and batched.
        folder: The folder of the run.
        reporter: Receives the progress.
        trackers: Log the trainings.
    """

    recipe: Recipe
    scale: str
    imports: tuple[str, ...]
    loaded: LoadedData
    splits: Splits
    store: SoftTargetStore | None
    student_data: StudentData
    build: Callable[..., keras.Model]
    validation: tf.data.Dataset
    test: tf.data.Dataset
    folder: WorkFolder | FinishedFolder
    reporter: Reporter
    trackers: Trackers

    @classmethod
    def load(
        cls,
        recipe: Recipe,
        folder: WorkFolder,
        *,
        scale: str,
        imports: tuple[str, ...],
        reporter: Reporter,
        trackers: Trackers = NO_TRACKERS,
    ) -> "RunContext":
        """Loads the data set (at scale `smoke`, two batches of each split) and checks the recipe.

        Everything that can be checked without training is checked here, so that no training is lost
        because of a mistake in the recipe.

        Raises:
            InputError: If the data does not match the recipe, a setting of a loss is not valid, a
                model cannot be built or loaded or does not match the data, or the student cannot be
                compressed as the recipe requires.
            MissingExtraError: If a package that the recipe needs is not installed.
        """
        device.check_installed(recipe.benchmark.targets)
        loaded = load_data(recipe, scale, imports)
        context = cls.of(
            recipe,
            folder,
            loaded,
            scale=scale,
            imports=imports,
            reporter=reporter,
            trackers=trackers,
        )
        steps = None if recipe.training.seconds else 1
        losses = distillation_losses(recipe.distillation, steps)
        student, teacher = _checked_student(context), check_teacher(context)
        if context.student_data.mixes and student.output_shape[-1] == 1:
            raise InputError(
                "mixup and cutmix need a student with a unit for each class. Received: one unit."
            )
        if teacher is not None and reads_layers(recipe.distillation):
            Distiller(teacher, student, **losses)  # checks that the layers exist
        return context

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        folder: WorkFolder | FinishedFolder,
        loaded: LoadedData,
        *,
        scale: str,
        imports: tuple[str, ...],
        reporter: Reporter,
        trackers: Trackers = NO_TRACKERS,
    ) -> "RunContext":
        """Creates the context of a recipe whose data is loaded; checks only the student's data."""
        store = stored_teacher(recipe)
        return cls(
            recipe=recipe,
            scale=scale,
            imports=imports,
            loaded=loaded,
            splits=loaded.splits,
            store=store,
            student_data=StudentData.of(recipe, loaded.splits, loaded.unlabeled, store, scale),
            build=loaded.builder(imports),
            validation=loaded.validation,
            test=loaded.test,
            folder=folder,
            reporter=reporter,
            trackers=trackers,
        )

    def build_student(self, seed: int) -> keras.Model:
        """Builds the student with the initial weights of a seed."""
        part = self.recipe.student
        model = self.build(student_spec(self), seed=seed)
        if part.pretrained is not None:
            models.load_pretrained(model, part.pretrained, imports=self.imports)
        return model

    def build_teacher(self, spec: str, seed: int = 0) -> keras.Model:
        """Builds a teacher that the run trains, with the initial weights of a seed."""
        return self.loaded.teacher_builder(self.imports)(spec, seed=seed)

    @property
    def student_validation(self) -> tf.data.Dataset:
        """The validation split with labels as in training: rows if examples are mixed."""
        return as_rows(self.validation, self.splits) if self.student_data.mixes else self.validation

    @property
    def file_options(self) -> dict[str, Any]:
        """The export options that determine the contents of the files besides the network."""
        return {"class_names": self.splits.class_names, "strip": self.recipe.export.strip}

    @property
    def teacher_splits(self) -> Splits:
        """The data set on which the teacher is trained."""
        return self.splits if self.loaded.teacher is None else self.loaded.teacher

    @property
    def teacher_validation(self) -> tf.data.Dataset:
        """The validation split of the teacher's data set, in order and batched."""
        return in_order(self.teacher_splits.validation)

    def composed(self, members: list[Teacher]) -> Teacher:
        """Combines the members to the teacher that the recipe describes; see `compose`."""
        trained = all(map(is_spec, self.recipe.teacher.models)) or self.loaded.teacher is not None
        x, _ = next(iter(self.validation.take(1)))
        return compose(
            members,
            self.recipe,
            student_names=self.splits.class_names,
            teacher_names=self.teacher_splits.class_names if trained else None,
            x=x[:2],
        )


def _checked_student(context: RunContext) -> keras.Model:
    student, part = checked_student(context), context.recipe.compress
    pretrained = context.recipe.student.pretrained
    if pretrained is not None:
        models.load_pretrained(student, pretrained, imports=context.imports)
    if part is None:
        return student
    from keras_distill.compress import check_student

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf_keras warns about its own internals
        check_student(student, part.steps, skip=part.skip)
    return student


def check_teacher(context: RunContext) -> Teacher | None:
    """Builds or opens the teacher and checks it; members that the run trains are untrained.

    Returns:
        The teacher; None if the recipe names a store, which is checked instead.

    Raises:
        InputError: If the teacher or the store cannot be built or opened, or does not match the
            data.
    """
    if context.store is not None:
        _check_store(context.store, context)
        return None
    part, members = context.recipe.teacher, []
    for source in part.models:
        if is_spec(source):
            models.parse(source, name="teacher")
            members.append(as_teacher(context.build_teacher(source)))
        else:
            members.append(open_teacher(source, part, context.imports))
    _check_settings(part, members)
    teacher = context.composed(members * part.members)
    if not (len(members) == 1 and teacher is members[0] and is_spec(part.models[0])):
        _check_classes(teacher, context)
        if not any(map(is_spec, part.models)):
            _check_range(teacher, context)
    return teacher


def _check_settings(part: TeacherPart, members: list[Teacher]) -> None:
    """Raises an error for a setting that no member uses."""
    files = [member for member in members if isinstance(member, TFLiteTeacher)]
    trained = [source for source in part.models if is_spec(source)]
    rules: list[tuple[str, Any, str]] = []
    if not files:
        rules += [("threads", part.threads, "for a .tflite file")]
    if len(trained) == len(part.models):
        use = "for a file or a function"
        rules += [("from_probabilities", part.from_probabilities, use)]
    if not trained:
        rules += [("augment", part.augment, "for a teacher that the run trains")]
    if part.members > 1 and not trained:
        rules += [("members", part.members, "for the spec of a model that the run trains")]
    for name, value, use in rules:
        if value is not None:
            raise InputError(f"`teacher.{name}` must be left out: it is {use}. Received: {value}")


def _check_store(store: SoftTargetStore, context: RunContext) -> None:
    """Checks that the classes and examples of a store are those of the data.

    It also checks that the recipe's settings work with a store.
    """
    (output, *others), classes = store.manifest.outputs, context.splits.num_classes
    if others or output.shape != (classes,):
        raise InputError(
            f"{store.path} must hold one row of {classes} logits for each example, one for each"
            f" class of {context.recipe.data.source}. It holds logits of shape {output.shape}."
            " Map other classes before they are stored: teachers.AdaptedTeacher(teacher,"
            " teachers.ClassMap(…)), or name the teacher in place of the store, with its classes."
        )
    temperature = context.recipe.distillation.temperature
    if store.manifest.teacher.temperature not in (None, temperature):
        raise InputError(
            f"`distillation.temperature` must be {store.manifest.teacher.temperature:g}, that of"
            f" the arithmetic mean in {store.path}. Received: {temperature}"
        )
    part = context.recipe.teacher
    of_training = {"model", *ClassifierChanges.model_fields}
    given = part.model_dump(exclude_defaults=True, exclude=of_training)
    if given or reads_layers(context.recipe.distillation):
        key = f"teacher.{next(iter(given))}" if given else "distillation.losses"
        what = f"be left out: {part} is a store of soft targets, and no teacher runs"
        rule = what if given else f"read logits only: {part} is a store of soft targets"
        raise InputError(f"`{key}` must {rule}.")
    try:
        store.verify(context.student_data.train)
    except VerificationError as error:
        raise InputError(f"{store.path} was not built from these data. {error}") from error


def _check_classes(teacher: Teacher, context: RunContext) -> None:
    """Checks that a teacher returns one row of logits for each example of the data."""
    shape, classes = context.splits.input_shape, context.splits.num_classes
    x, _ = next(iter(context.validation.take(1)))
    x = x.numpy()[:_ROWS]
    try:
        logits = teacher.predict(x)
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        # The message of Keras comes after the lines of the traced code.
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if "Error: " in line), lines[0])
        raise InputError(
            f"The teacher cannot take the data: inputs of shape {shape} ({reason})."
        ) from error
    fits = not isinstance(logits, dict) and logits.shape in models.logit_shapes(len(x), classes)
    if isinstance(logits, dict) or not fits:
        rule = (
            f"The teacher must give one row of {classes} logits for each example, one for each"
            f" class of {context.recipe.data.source}."
        )
        if not isinstance(logits, dict):
            other = _OTHER_CLASSES if logits.ndim == 2 else ""
            raise InputError(f"{rule} For {len(x)} examples it gives shape {logits.shape}.{other}")
        fitting = [name for name, rows in logits.items() if rows.shape[-1] == classes]
        chosen = teacher.choice((fitting or list(logits))[0])
        raise InputError(
            f"{rule} It gives the outputs {', '.join(logits)}. Choose one, and save it or give a"
            f" function that returns it (py:MODULE:FUNCTION): {chosen}"
        )


def _check_range(teacher: Teacher, context: RunContext) -> None:
    """Checks that a teacher is not far more accurate on data scaled to another range.

    Raises:
        InputError: If it is. The message has both accuracies and the scaling.
    """
    x, y = next(iter(context.splits.validation.batch(_RANGE_ROWS)))
    x, y = x.numpy(), np.asarray(y)
    if x.dtype.kind != "f" and x.dtype != np.uint8:  # ids cannot be scaled
        return

    def accuracy(scaled: Mapping[str, Any], rows: Any) -> float:
        return float(metrics.accuracy(np.asarray(teacher.predict(scaled[""])), y[rows]))

    found = metrics.better_scaling(accuracy, {"": x}, metrics.constant_accuracy(y), ("",))
    if found is not None:
        raise InputError(found.message("the teacher", layers=isinstance(teacher, KerasTeacher)))
