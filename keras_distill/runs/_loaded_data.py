"""The data of a run, loaded: several recipes with the same data may share them."""

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
    """A data set in memory or on disk, and the normalization of its training split.

    Attributes:
        splits: The data set.
        unlabeled: The second source, `(x, y)` whose y is not used, or x; None without one.
        rescale: (scale, offset) of the first layer of models.
    """

    splits: Splits
    unlabeled: tf.data.Dataset | None
    rescale: data.Rescale

    def builder(self, imports: tuple[str, ...]) -> Callable[..., keras.Model]:
        """Returns `build(spec, seed=0)`, which builds or loads a model for these data."""
        return functools.partial(
            models.build,
            input_shape=self.splits.input_shape,
            num_classes=self.splits.num_classes,
            rescale=self.rescale,
            imports=imports,
        )

    @property
    def validation(self) -> tf.data.Dataset:
        """The validation split, in order and batched."""
        return data.batches(self.splits.validation, _EVALUATION_BATCH)

    @property
    def test(self) -> tf.data.Dataset:
        """The test split, in order and batched."""
        return data.batches(self.splits.test, _EVALUATION_BATCH)


def load_data(recipe: Recipe, scale: str, imports: tuple[str, ...]) -> LoadedData:
    """Loads the data of a recipe; at scale `smoke`, two batches of each split.

    Raises:
        InputError: If a source cannot be loaded, has no labels, or its examples are text.
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
        unlabeled = data.load(part.unlabeled, data_dir=part.data_dir).train
    if scale == "smoke":
        few = 2 * recipe.training.batch_size
        cut = {split: getattr(splits, split).take(few) for split in splits.sizes}
        splits = dataclasses.replace(splits, **cut)
        unlabeled = unlabeled and unlabeled.take(few)
    return LoadedData(splits, unlabeled, data.statistics(splits.train))
