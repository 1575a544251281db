"""What the stages of a run share: recipe, data, builder of models, folder, progress."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill._internal._progress import Reporter
from keras_distill.data import Splits
from keras_distill.records import Recipe
from keras_distill.runs._loaded_data import LoadedData, load_data
from keras_distill.runs._losses import distillation_losses, reads_layers
from keras_distill.runs._shrink import checked_student, student_spec
from keras_distill.runs._student_data import StudentData
from keras_distill.teachers import Teacher, as_teacher
from keras_distill.training import Distiller
from keras_distill.work import WorkFolder


@dataclass(frozen=True)
class RunContext:
    """A recipe with its data loaded, and the folder it is run in.

    Attributes:
        recipe: The recipe.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers of `.keras` files.
        splits: The data set.
        student_data: What the student sees of it.
        build: `build(spec, seed=0)` builds a new model with the initial weights of that seed, or
            loads the one in a file.
        validation: The validation split, in order and batched.
        test: The test split, in order and batched.
        folder: The folder of the run.
        reporter: Receives the progress.
    """

    recipe: Recipe
    scale: str
    imports: tuple[str, ...]
    splits: Splits
    student_data: StudentData
    build: Callable[..., keras.Model]
    validation: tf.data.Dataset
    test: tf.data.Dataset
    folder: WorkFolder
    reporter: Reporter

    @classmethod
    def load(
        cls,
        recipe: Recipe,
        folder: WorkFolder,
        *,
        scale: str,
        imports: tuple[str, ...],
        reporter: Reporter,
    ) -> "RunContext":
        """Loads the data set (at scale `smoke`, two batches of each split) and checks the recipe.

        A mistake in a recipe must not cost a training: whatever can be checked without one is
        checked here.

        Raises:
            InputError: If the data are not as the recipe says, a setting of a loss breaks its rule,
                a model cannot be built or loaded or does not fit the data, or the student cannot be
                compressed as the recipe says.
        """
        loaded = load_data(recipe, scale, imports)
        context = cls.of(recipe, folder, loaded, scale=scale, imports=imports, reporter=reporter)
        steps = None if recipe.training.seconds else 1
        losses = distillation_losses(recipe.distillation, steps)
        student, teacher = _checked_student(context), check_teacher(context)
        if reads_layers(recipe.distillation):
            Distiller(teacher, student, **losses)  # checks the names of the layers
        return context

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        folder: WorkFolder,
        loaded: LoadedData,
        *,
        scale: str,
        imports: tuple[str, ...],
        reporter: Reporter,
    ) -> "RunContext":
        """Returns the context of a recipe whose data are loaded; only the labels are checked."""
        return cls(
            recipe=recipe,
            scale=scale,
            imports=imports,
            splits=loaded.splits,
            student_data=StudentData.of(recipe, loaded.splits, loaded.unlabeled),
            build=loaded.builder(imports),
            validation=loaded.validation,
            test=loaded.test,
            folder=folder,
            reporter=reporter,
        )

    def build_student(self, seed: int) -> keras.Model:
        """Returns the student with the initial weights of a seed."""
        return self.build(student_spec(self), seed=seed)


def _checked_student(context: RunContext) -> keras.Model:
    student, part = checked_student(context), context.recipe.compress
    if part is None:
        return student
    from keras_distill.compress import check_student

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tf_keras, on its own internals
        check_student(student, part.steps, skip=part.skip)
    return student


def check_teacher(context: RunContext) -> Teacher:
    """Returns the teacher, untrained if the run trains it.

    Raises:
        InputError: If it cannot be built or loaded, or does not fit the data.
    """
    spec = context.recipe.teacher.model
    path = Path(spec)
    if path.suffix not in (".keras", ".tflite"):
        models.parse(spec, name="teacher")
        return as_teacher(context.build(spec))
    if not path.is_file():
        raise InputError(f"teacher: no file {path}.")
    keras_file = path.suffix == ".keras"
    teacher = as_teacher(models.load(path, imports=context.imports) if keras_file else path)
    _check_classes(teacher, context)
    return teacher


def _check_classes(teacher: Teacher, context: RunContext) -> None:
    """Refuses a teacher that does not give one row of logits for each example of the data."""
    shape, classes = context.splits.input_shape, context.splits.num_classes
    x, _ = next(iter(context.validation.take(1)))
    x = x.numpy()[:2]
    try:
        logits = teacher.predict(x)
    except (ValueError, TypeError) as error:
        # Keras's own message comes after the lines of the traced code.
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if "Error: " in line), lines[0])
        raise InputError(
            f"The teacher cannot take the data: inputs of shape {shape} ({reason})."
        ) from error
    if isinstance(logits, dict) or logits.shape != (len(x), classes):
        given = "several outputs" if isinstance(logits, dict) else f"shape {logits.shape}"
        raise InputError(
            f"The teacher must give one row of {classes} logits for each example, one for each"
            f" class of {context.recipe.data.source}. For {len(x)} examples it gives {given}."
        )
