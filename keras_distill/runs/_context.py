"""What the stages of a run share: recipe, data, builder of models, folder, progress."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from keras_distill import data, models
from keras_distill._internal import InputError, _user_code, bad
from keras_distill._internal._progress import Reporter
from keras_distill.data import Splits
from keras_distill.records import Recipe
from keras_distill.teachers import Teacher, as_teacher
from keras_distill.work import WorkFolder

_EVALUATION_BATCH = 256
_CACHE = 1 << 30  # bytes of examples that are kept in memory between epochs


@dataclass(frozen=True)
class RunContext:
    """A recipe with its data loaded, and the folder it is run in.

    Attributes:
        recipe: The recipe.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers of `.keras` files.
        splits: The data set.
        labels_kept: How many labels the student sees.
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
    labels_kept: int
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
            InputError: If the labels are too few for the classes, a model cannot be built or
                loaded or does not fit the data, or the student cannot be compressed as the recipe
                says.
        """
        for module in imports:
            _user_code.import_module("import", module)
        splits = data.load(recipe.data.source, data_dir=recipe.data.data_dir)
        if splits.is_text:
            raise InputError(
                f"{recipe.data.source}: the examples are text, and a run exports .tflite files,"
                " which take numbers. Save token ids (int32) instead of the text."
            )
        if scale == "smoke":
            few = 2 * recipe.training.batch_size
            cut = {split: getattr(splits, split).take(few) for split in splits.sizes}
            splits = dataclasses.replace(splits, **cut)
        build = functools.partial(
            models.build,
            input_shape=splits.input_shape,
            num_classes=splits.num_classes,
            rescale=data.statistics(splits.train),
            imports=imports,
        )
        context = cls(
            recipe=recipe,
            scale=scale,
            imports=imports,
            splits=splits,
            labels_kept=_labels_kept(recipe.data.labels, splits.sizes["train"]),
            build=build,
            validation=data.batches(splits.validation, _EVALUATION_BATCH),
            test=data.batches(splits.test, _EVALUATION_BATCH),
            folder=folder,
            reporter=reporter,
        )
        context.few_labels(recipe.seeds[0])
        _check_student(context)
        _check_teacher(context)
        return context

    def few_labels(self, seed: int) -> tf.data.Dataset:
        """Returns the training split with label -1 where the student may not see the label."""
        train, size = self.splits.train, self.splits.sizes["train"]
        if self.labels_kept == size:
            return train
        kept = data.keep_labels(train, self.labels_kept, seed=seed)
        spec = train.element_spec[0]
        fits_in_memory = size * spec.shape.num_elements() * spec.dtype.size < _CACHE
        return kept.cache() if fits_in_memory else kept


def _labels_kept(labels: int | float | None, examples: int) -> int:
    """Returns the number of labels that a count, a share, or None (all) means."""
    if labels is None:
        return examples
    count = labels if isinstance(labels, int) else max(1, round(labels * examples))
    if count > examples:
        raise bad("labels", f"be at most the {examples} training examples", labels)
    return count


def _check_student(context: RunContext) -> None:
    spec, part = context.recipe.student.model, context.recipe.compress
    models.parse(spec, name="student")
    student = context.build(spec, seed=context.recipe.seeds[0])
    if part is None:
        return
    from keras_distill.compress import check_student

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tf_keras, on its own internals
        check_student(student, part.steps, skip=part.skip)


def _check_teacher(context: RunContext) -> None:
    spec = context.recipe.teacher.model
    path = Path(spec)
    if path.suffix not in (".keras", ".tflite"):
        models.parse(spec, name="teacher")
        context.build(spec)
        return
    if not path.is_file():
        raise InputError(f"teacher: no file {path}.")
    keras_file = path.suffix == ".keras"
    teacher = as_teacher(models.load(path, imports=context.imports) if keras_file else path)
    _check_classes(teacher, context)


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
