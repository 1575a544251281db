"""Selects the data that the student sees: examples, labels, and augmented views."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill import data
from keras_distill._internal import InputError, bad
from keras_distill._internal._soft_targets import Targets
from keras_distill.data import Augmentation, Splits
from keras_distill.records import AugmentPart, Recipe
from keras_distill.targets import SoftTargetStore

_CACHE = 1 << 30  # bytes of examples that are kept in memory between epochs


@dataclass(frozen=True)
class StudentData:
    """The transfer set: the examples on which the student learns from the teacher.

    Attributes:
        train: A data set of `(x, y)`, unbatched and ordered; y is -1 for the examples of the
            unlabeled source.
        examples: Number of examples.
        labeled: Number of examples that have a label; these come first.
        labels_kept: Number of labels that the student sees.
        augment: The augmentation of the examples; None without one.
        views: Number of augmented views per example; used only with an augmentation.
        classes: Number of classes.
        notes: Differences from the training split, one sentence each.
    """

    train: tf.data.Dataset
    examples: int
    labeled: int
    labels_kept: int
    augment: Augmentation | None
    views: int
    classes: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        splits: Splits,
        unlabeled: tf.data.Dataset | None,
        store: SoftTargetStore | None,
        scale: str = "full",
    ) -> "StudentData":
        """Makes the transfer set that a recipe describes.

        Args:
            recipe: The recipe.
            splits: The data set.
            unlabeled: The second source: `(x, y)`, of which y is not used, or x. None without one.
            store: The store that replaces the teacher, whose views the student sees; None if a
                teacher runs.
            scale: `full` or `smoke`. With `smoke`, the number of labels is adapted to the few
                examples: at most all, and at least one of each class.

        Raises:
            InputError: If the labels are too few or too many, a class is unknown, the second source
                has other inputs, or the augmentation does not match the examples or the store.
        """
        part, notes = recipe.data, ()
        train = splits.train
        if part.omit_classes:
            omitted = _class_ids(part.omit_classes, splits.class_names)
            train = data.select(train, ~np.isin(data.labels_of(train), omitted))
            names = ", ".join(splits.class_names[i] for i in omitted)
            notes += (f"the student saw no example of {names}",)
        labeled = int(train.cardinality())
        if unlabeled is not None:
            train, added = _with_unlabeled(train, unlabeled)
            notes += (f"the student also saw {added} examples of {part.unlabeled} without labels",)
        augment, views = _views(recipe, splits, store)
        found = cls(
            train=train,
            examples=int(train.cardinality()),
            labeled=labeled,
            labels_kept=_labels_kept(part.labels, labeled, scale),
            augment=augment,
            views=views,
            classes=splits.num_classes,
            notes=notes,
        )
        if scale == "smoke":
            found = found._with_a_label_of_each_class(recipe.seeds[0])
        else:
            found.with_few_labels(recipe.seeds[0])
        if found.labels_kept < found.examples:
            note = "{} learned from the labeled examples only, because it needs labels"
            needy = [term.loss for term in recipe.distillation.losses if term.needs_labels]
            notes += tuple(note.format(name) for name in needy)
        return dataclasses.replace(found, notes=notes)

    def _with_a_label_of_each_class(self, seed: int) -> "StudentData":
        """Doubles the number of labels until each class has one."""
        found = self
        while True:
            try:
                found.with_few_labels(seed)
            except InputError:
                if found.labels_kept == found.labeled:
                    raise
                kept = min(2 * found.labels_kept, found.labeled)
                found = dataclasses.replace(found, labels_kept=kept)
            else:
                return found

    @property
    def mixes(self) -> bool:
        """Whether examples are mixed with each other, so that labels are rows."""
        return self.augment is not None and self.augment.mixes

    @property
    def few(self) -> bool:
        """Whether the student sees fewer labels than the data has."""
        return self.labels_kept < self.labeled

    def with_few_labels(self, seed: int) -> tf.data.Dataset:
        """Returns the examples, with -1 for labels that the student does not see.

        Args:
            seed: Seed of the choice of the labels that are kept.
        """
        if self.labels_kept == self.labeled:
            return self.train
        if self.examples == self.labeled:
            kept = data.keep_labels(self.train, self.labels_kept, seed=seed)
        else:
            labeled = self.train.take(self.labeled)
            kept = data.keep_labels(labeled, self.labels_kept, seed=seed)
            kept = kept.concatenate(self.train.skip(self.labeled))
        if isinstance(kept, data.MemoryDataset):
            return kept
        spec = self.train.element_spec[0]
        fits_in_memory = self.examples * spec.shape.num_elements() * spec.dtype.size < _CACHE
        return kept.cache() if fits_in_memory else kept

    def soft_batches(self, seed: int, batch_size: int, first_epoch: int) -> tf.data.Dataset:
        """Returns endless batches of all examples, with the labels that the student sees.

        If examples are mixed, y is `Targets` without logits, whose `labeled` marks the examples
        that have a label.
        """
        return self._whole(self.with_few_labels(seed), seed, batch_size, first_epoch, _flagged)

    def hard_batches(
        self, seed: int, batch_size: int, first_epoch: int, *, all_labels: bool
    ) -> tf.data.Dataset:
        """Returns endless batches of the labeled examples.

        An epoch has as many steps as an epoch over all examples. If fewer examples are labeled,
        each pass over them has a new order, and a batch may span two passes.

        Args:
            seed: Seed of the order and of the labels that are kept.
            batch_size: Examples per batch.
            first_epoch: The epoch at which to start.
            all_labels: Whether to use all labels instead of those that are kept.
        """
        count = self.labeled if all_labels else self.labels_kept
        if count == self.examples:
            return self._whole(self.train, seed, batch_size, first_epoch, _rows_alone)
        examples = self.train.take(self.labeled) if all_labels else self.with_few_labels(seed)
        first_step = first_epoch * -(-self.examples // batch_size)
        if self.augment is not None:
            few = _labeled(examples.enumerate(), count)
            views = self._views(few, seed, batch_size, first_step, across=True)
            return views.map(_rows_alone) if self.mixes else views
        passes, within = divmod(first_step * batch_size, count)
        few = _labeled(examples, count)
        whole = data.batches(few, count, shuffle_seed=seed, epoch=passes, epochs=None)
        one_by_one = whole.unbatch().skip(within)
        return data.read_ahead(one_by_one.batch(batch_size, drop_remainder=True))

    def _whole(
        self,
        examples: tf.data.Dataset,
        seed: int,
        batch_size: int,
        first_epoch: int,
        of_mixed: Callable[[Any, Any], Any],
    ) -> tf.data.Dataset:
        """Returns endless batches of all examples; `of_mixed` converts those of mixed examples."""
        if self.augment is None:
            return data.batches(
                examples, batch_size, shuffle_seed=seed, epoch=first_epoch, epochs=None
            )
        first_step = first_epoch * -(-self.examples // batch_size)
        views = self._views(examples.enumerate(), seed, batch_size, first_step)
        return views.map(of_mixed) if self.mixes else views

    def _views(
        self,
        indexed: tf.data.Dataset,
        seed: int,
        batch_size: int,
        first_step: int,
        *,
        across: bool = False,
    ) -> tf.data.Dataset:
        assert self.augment is not None  # checked by the caller
        return data.augmented_batches(
            indexed,
            batch_size,
            self.augment,
            shuffle_seed=seed,
            views=self.views,
            first_step=first_step,
            across=across,
            classes=self.classes,
        )


def _rows_alone(x: Any, y: Any) -> Any:
    """Converts a batch of mixed examples that all have a label."""
    return x, y[0]


def _flagged(x: Any, y: Any) -> Any:
    """Converts a batch of mixed examples, some of which may have no label."""
    return x, Targets(y[0], None, y[1])


def _labeled(examples: tf.data.Dataset, count: int) -> tf.data.Dataset:
    """Selects the `count` elements `(x, y)`, or `(index, (x, y))`, that have a label; cached."""

    def has_label(*element: Any) -> tf.Tensor:
        _, y = element if not isinstance(element[1], tuple) else element[1]
        return y != data.UNLABELED

    kept = examples.filter(has_label)  # pyright: ignore[reportArgumentType]
    return kept.apply(tf.data.experimental.assert_cardinality(count)).cache()


def augmentation(part: AugmentPart | None, shape: tuple[int, ...]) -> Augmentation | None:
    """Returns the augmentation of a recipe; None if it changes nothing.

    Raises:
        InputError: If the examples are not images, or are too small for the augmentation.
    """
    if part is None or not part.changes:
        return None
    augment = Augmentation.from_settings(part.model_dump())
    augment.check_shape(shape)
    return augment


def _views(
    recipe: Recipe, splits: Splits, store: SoftTargetStore | None
) -> tuple[Augmentation | None, int]:
    """Returns the augmentation and the number of views, from the recipe or from a store."""
    augment = augmentation(recipe.data.augment, splits.input_shape)
    if store is None:
        return augment, recipe.distillation.views
    stored = store.manifest.augment
    theirs = None if stored is None else Augmentation.from_settings(stored)
    if augment not in (None, theirs):
        raise InputError(
            "`data.augment` must be left out, or be that of the views in the store"
            f" {store.path}. Received: {augment}; the store has {theirs}."
        )
    return theirs, store.manifest.views


def _labels_kept(labels: int | float | None, examples: int, scale: str) -> int:
    """Converts a count, a fraction, or None (all) to the number of labels."""
    if labels is None:
        return examples
    count = labels if isinstance(labels, int) else max(1, round(labels * examples))
    if scale == "smoke":
        return min(count, examples)
    if count > examples:
        raise bad("labels", f"be at most the {examples} training examples", labels)
    return count


def _class_ids(classes: tuple[int | str, ...], names: tuple[str, ...]) -> list[int]:
    """Returns the ids of classes given by name or id; at least two other classes must be left."""
    found = []
    for given in classes:
        known = given in names if isinstance(given, str) else 0 <= given < len(names)
        if not known:
            some = ", ".join(names[:20])
            raise bad("omit_classes", f"name classes of the data, or their ids ({some})", given)
        found.append(names.index(given) if isinstance(given, str) else given)
    if len(names) - len(set(found)) < 2:
        raise bad("omit_classes", f"leave two of the {len(names)} classes", list(classes))
    return sorted(set(found))


def _with_unlabeled(
    train: tf.data.Dataset, unlabeled: tf.data.Dataset
) -> tuple[tf.data.Dataset, int]:
    unlabeled = unlabeled.map(lambda x, *_: x, tf.data.AUTOTUNE)
    spec, other = train.element_spec[0], unlabeled.element_spec
    if (spec.shape, spec.dtype) != (other.shape, other.dtype):
        raise InputError(
            "`unlabeled` must have examples like those of `source`,"
            f" {spec.dtype.name} {tuple(spec.shape)}. Received: {other.dtype.name}"
            f" {tuple(other.shape)}."
        )
    label = tf.constant(data.UNLABELED, train.element_spec[1].dtype)
    added = unlabeled.map(lambda x: (x, label), tf.data.AUTOTUNE)
    return train.concatenate(added), int(unlabeled.cardinality())
