"""`Splits`, the value of every data source, and the function that makes it from arrays."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_distill._internal import InputError, bad, check_number
from keras_distill._internal._spec import Spec
from keras_distill._internal._types import Dataset, PathLike
from keras_distill.data._checked_arrays import check_arrays, class_names_of, number_names
from keras_distill.data._stratified import held_out

SPLITS = ("train", "validation", "test")
# Fractions of the training examples that are held out if a source has no such split.
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1
# The test examples of a source must not depend on the seed of a run.
TEST_SEED = 0


@dataclass(frozen=True)
class Source:
    """The argument of the function `load` of a data source.

    Attributes:
        spec: The parsed spec string.
        data_dir: Folder of prepared TFDS data sets. None uses TFDS_DATA_DIR or, if it is not set,
            the default folder of TFDS.
        validation: Fraction of train to hold out for validation. None means 10 % if the source has
            no validation split.
        seed: Seed for selecting the validation examples.
        reads: The splits that will be read; None means all.
    """

    spec: Spec
    data_dir: PathLike | None = None
    validation: float | None = None
    seed: int = 0
    reads: Collection[str] | None = None

    @property
    def text(self) -> str:
        """The spec string, for messages."""
        return self.spec.text


@dataclass(frozen=True)
class Splits:
    """A data set: three splits, class names, and the shape of an example.

    Each split is an unbatched, finite, ordered `tf.data.Dataset` of `(x, y)` with known
    cardinality. x is raw, of a dtype that `kept_dtype` returns and of shape `input_shape`. y is a
    class id (int64 scalar). An unlabeled data set has no class names, and its elements are x alone.

    Attributes:
        train: The examples for training.
        validation: The examples for choosing settings and epochs.
        test: The examples for the final evaluation.
        class_names: The names of the classes, by class id.
        input_shape: Shape of one x.
        name: A short name, such as "digits".
        spec: The spec string that names the source.
        notes: Sentences on how the splits were made.
        warnings: Sentences on what the source skipped.
    """

    train: Dataset = field(repr=False)
    validation: Dataset = field(repr=False)
    test: Dataset = field(repr=False)
    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    name: str
    spec: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of examples of each split."""
        return {split: int(getattr(self, split).cardinality()) for split in SPLITS}

    @property
    def labeled(self) -> bool:
        """Whether the examples have labels: the elements are `(x, y)`, otherwise x alone."""
        return bool(self.class_names)

    def need_labels(self, what: str) -> None:
        """Raises an error if the examples have no labels.

        Args:
            what: What needs the labels, as the start of a sentence, such as "A run".

        Raises:
            InputError: If the examples have no labels.
        """
        if not self.labeled:
            raise InputError(
                f"{self.spec}: the examples have no labels. {what} needs them. To train on soft"
                " targets alone: Distiller(teacher, student).fit(splits.train.batch(128)), or with"
                " a store of keras-distill targets build: fit(store.batches(splits.train, 128)):"
                " docs/guides/tflite-teacher.md."
            )

    @property
    def is_text(self) -> bool:
        """Whether x is text, which the model itself must convert to numbers."""
        element: Any = self.train.element_spec
        return (element[0] if self.labeled else element).dtype == tf.string


def check_validation(validation: float | None) -> float | None:
    """Returns the fraction of train to hold out, after checking it.

    Raises:
        InputError: If it is neither None nor a number > 0 and <= 0.5.
    """
    if validation is None:
        return None
    return check_number("validation", validation, above=0, at_most=0.5)


def from_arrays(
    arrays: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike | None]],
    source: Source,
    *,
    name: str,
    class_names: tuple[str, ...] | None = None,
    notes: tuple[str, ...] = (),
) -> Splits:
    """Makes the splits of a source from arrays: checks them, and holds out the missing splits.

    Args:
        arrays: The pairs (x, y) by split: "train" and, if the source has them, "validation" and
            "test". For unlabeled data all pairs are (x, None).
        source: The argument of `load`.
        name: The short name of the data set.
        class_names: The names of the classes, by class id. None uses the names among the labels,
            or the ids.
        notes: Sentences on the splits that the source has made.

    Raises:
        InputError: If the arrays are not a valid data set, train is too small to hold examples
            out, or `validation` is given and the source has a validation split.
    """
    text = source.text
    parts = {
        split: check_arrays(x, y, where=f"{text}: {split}") for split, (x, y) in arrays.items()
    }
    class_names = number_names(parts, class_names, text)
    labels = {s: part.y for s, part in parts.items() if part.y is not None}
    names = class_names_of(labels, parts, class_names, source=text)
    shape = parts["train"].x.shape[1:]
    for split, part in parts.items():
        if part.x.shape[1:] != shape or part.x.dtype != parts["train"].x.dtype:
            raise InputError(
                f"{text}: x of {split} must look like x of train, {parts['train'].x.dtype}"
                f" {shape}. Received: {part.x.dtype} {part.x.shape[1:]}."
            )
    for split, share, seed in missing(parts, source):
        train = parts["train"]
        total = len(train.x)
        known = np.zeros(total, np.int64) if train.y is None else train.y
        picks = held_out(known, share, seed, what=split, source=text)
        parts[split], parts["train"] = train.take(picks), train.drop(picks)
        notes += (note(split, len(picks), total, seed),)
    return Splits(
        train=parts["train"].dataset(),
        validation=parts["validation"].dataset(),
        test=parts["test"].dataset(),
        class_names=names,
        input_shape=tuple(shape),
        name=name,
        spec=text,
        notes=notes,
    )


def missing(present: Collection[str], source: Source) -> list[tuple[str, float, int]]:
    """Lists the splits to hold out of train, in order, as tuples (split, share, seed).

    Raises:
        InputError: If `validation` is given although a validation split is present.
    """
    if source.validation is not None and "validation" in present:
        raise bad(
            "validation",
            "be left out: the source has a validation split of its own",
            source.validation,
        )
    wanted: list[tuple[str, float, int]] = []
    if "test" not in present:
        wanted.append(("test", TEST_SHARE, TEST_SEED))
    if "validation" not in present:
        wanted.append(("validation", source.validation or VALIDATION_SHARE, source.seed))
    return wanted


def note(split: str, count: int, total: int, seed: int) -> str:
    """Returns a sentence on how a split was held out."""
    return f"{split}: {count} of {total} training examples held out, stratified, seed {seed}"
