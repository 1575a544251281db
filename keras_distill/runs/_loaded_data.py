"""Loads the data of a run. Recipes with the same data can share it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_distill import data, models
from keras_distill._internal import InputError, _user_code
from keras_distill.data import Splits
from keras_distill.records import Recipe

_EVALUATION_BATCH = 256


class LoadedData(NamedTuple):
    """The data sets of a recipe, and the normalization of the student's training split.

    Attributes:
        splits: The data set of the student.
        unlabeled: The second source: `(x, y)`, of which y is not used, or x. None without one.
        rescale: The scale and offset for the first layer of models.
        teacher: The data set on which the teacher is trained; None if it is that of the student.
    """

    splits: Splits
    unlabeled: tf.data.Dataset | None
    rescale: data.Rescale
    teacher: Splits | None = None

    def builder(self, imports: tuple[str, ...]) -> Callable[..., keras.Model]:
        """Returns a function `build(spec, seed=0)` that builds or loads a model for this data."""
        return _builder(self.splits, self.rescale, imports)

    def teacher_builder(self, imports: tuple[str, ...]) -> Callable[..., keras.Model]:
        """Returns such a function for the data on which the teacher is trained."""
        if self.teacher is None:
            return self.builder(imports)
        return _builder(self.teacher, data.statistics(self.teacher.train), imports)

    @property
    def validation(self) -> tf.data.Dataset:
        """The validation split, in order and batched."""
        return in_order(self.splits.validation)

    @property
    def test(self) -> tf.data.Dataset:
        """The test split, in order and batched."""
        return in_order(self.splits.test)


def in_order(split: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the batches of a split for evaluation, in order."""
    return data.batches(split, _EVALUATION_BATCH)


def as_rows(batches: tf.data.Dataset, splits: Splits) -> tf.data.Dataset:
    """Converts the class ids in batches `(x, y)` to one-hot rows."""
    classes = splits.num_classes
    return batches.map(lambda x, y: (x, tf.one_hot(y, classes)))


def _builder(
    splits: Splits, rescale: data.Rescale, imports: tuple[str, ...]
) -> Callable[..., keras.Model]:
    return functools.partial(
        models.build,
        input_shape=splits.input_shape,
        num_classes=splits.num_classes,
        rescale=rescale,
        imports=imports,
    )


def load_data(recipe: Recipe, scale: str, imports: tuple[str, ...]) -> LoadedData:
    """Loads the data of a recipe; at scale `smoke`, two batches of each split.

    Raises:
        InputError: If a source or a module of `imports` cannot be loaded, labels are missing, or
            the examples are text.
    """
    for module in imports:
        _user_code.import_module("import", module)
    part = recipe.data
    splits, unlabeled = data.load(part.source, data_dir=part.data_dir), None
    splits.need_labels("A run")
    if splits.is_text:
        raise InputError(
            f"{part.source}: the examples are text, and a run exports .tflite files, which take"
            " numbers. Save token ids (int32) instead of the text."
        )
    if part.unlabeled is not None:
        unlabeled = data.load(part.unlabeled, data_dir=part.data_dir, reads=("train",)).train
    teacher = None
    if recipe.teacher.source is not None:
        teacher = data.load(recipe.teacher.source, data_dir=part.data_dir)
        teacher.need_labels("The training of a teacher")
    if scale == "smoke":
        few = 2 * recipe.training.batch_size
        splits = _first(splits, few)
        unlabeled = unlabeled and unlabeled.take(few)
        teacher = teacher and _first(teacher, few)
    return LoadedData(splits, unlabeled, data.statistics(splits.train), teacher)


def _first(splits: Splits, count: int) -> Splits:
    """Returns the first examples of each split."""
    cut = {split: getattr(splits, split).take(count) for split in splits.sizes}
    return dataclasses.replace(splits, **cut)
