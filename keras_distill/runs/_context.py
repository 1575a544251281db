"""What a run works on: the splits, the labels kept, the initial weights of each seed."""

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

from keras_distill import data, models
from keras_distill._internal import bad
from keras_distill.data import Rescale, Splits
from keras_distill.records._recipe import Recipe
from keras_distill.work import Rounds

_EVALUATION_BATCH = 256
_CACHE = 1 << 30  # bytes of examples that are kept in memory between epochs


@dataclass(frozen=True)
class Inputs:
    """Data and model builders of one recipe.

    Attributes:
        recipe: The recipe.
        splits: Its data set.
        imports: Modules that register custom layers of `.keras` files.
        steps: Training steps an epoch may take; None: all there are.
    """

    recipe: Recipe
    splits: Splits
    imports: tuple[str, ...] = ()

    @classmethod
    def load(cls, recipe: Recipe, *, scale: str, imports: tuple[str, ...]) -> "Inputs":
        """Loads the data set; at scale `smoke`, two batches of each split."""
        splits = data.load(recipe.data.source, data_dir=recipe.data.data_dir)
        if scale == "smoke":
            few = 2 * recipe.training.batch_size
            cut = {split: getattr(splits, split).take(few) for split in splits.sizes}
            splits = dataclasses.replace(splits, **cut)
        inputs = cls(recipe, splits, imports)
        # What cannot be done shall show before the teacher is trained.
        inputs.few_labels(recipe.seeds[0])
        inputs.model(recipe.student.model, recipe.seeds[0], name="student")
        return inputs

    @cached_property
    def rescale(self) -> Rescale:
        """Scale and offset of the normalizing first layer, from the training split."""
        return data.statistics(self.splits.train)

    @cached_property
    def labels_kept(self) -> int:
        """How many labels the student sees."""
        asked, there = self.recipe.data.labels, self.splits.sizes["train"]
        if asked is None:
            return there
        count = asked if isinstance(asked, int) else max(1, round(asked * there))
        if count > there:
            raise bad("labels", f"be at most the {there} training examples", asked)
        return count

    def rounds(self, epochs: int, batch_size: int) -> Rounds:
        """How a training over the whole training split is cut into rounds."""
        return Rounds(epochs, math.ceil(self.splits.sizes["train"] / batch_size))

    def model(self, spec: str, seed: int, *, name: str = "model") -> keras.Model:
        """A fresh model of that spec with the weights of that seed, or the one in the file.

        Args:
            spec: A model spec, or the path of a `.keras` file.
            seed: Of the initial weights.
            name: What the user called it, for errors.

        Raises:
            InputError: If there is no such model, or it does not fit the data.
        """
        models.parse(spec, name=name)
        return models.build(
            spec,
            input_shape=self.splits.input_shape,
            num_classes=self.splits.num_classes,
            rescale=self.rescale,
            seed=seed,
            imports=self.imports,
        )

    def few_labels(self, seed: int) -> tf.data.Dataset:
        """The training split with -1 in place of the labels that the student may not see."""
        if self.labels_kept == self.splits.sizes["train"]:
            return self.splits.train
        kept = data.keep_labels(self.splits.train, self.labels_kept, seed=seed)
        return kept.cache() if self._fits_in_memory else kept

    @property
    def _fits_in_memory(self) -> bool:
        spec = self.splits.train.element_spec[0]
        return self.splits.sizes["train"] * spec.shape.num_elements() * spec.dtype.size < _CACHE

    def evaluation(self, split: str) -> tf.data.Dataset:
        """The validation or test split, in order and batched."""
        return data.batches(getattr(self.splits, split), _EVALUATION_BATCH)

    def labels(self, split: str) -> np.ndarray:
        """The labels of a split, int64 `(n,)`, in its order."""
        return data.labels_of(getattr(self.splits, split))

    def images(self, split: str) -> np.ndarray:
        """The raw inputs of a split, `(n, ...)`, in its order."""
        dataset = getattr(self.splits, split).map(lambda x, y: x)
        return np.concatenate(list(dataset.batch(1024).as_numpy_iterator()))
