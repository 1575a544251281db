"""What every data source returns, `Splits`, made from arrays and checked once."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_distill._internal import InputError, bad, check_number
from keras_distill._internal._array_likes import to_array
from keras_distill._internal._spec import Spec
from keras_distill._internal._types import Array, Dataset, PathLike
from keras_distill.data._memory import MemoryDataset

SPLITS = ("train", "validation", "test")
# Shares of the training examples held out where a source has no such split.
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1
# The test examples of a source must not depend on the seed of a run.
TEST_SEED = 0


@dataclass(frozen=True)
class Source:
    """What `load` of a data source is called with.

    Attributes:
        spec: The parsed spec string.
        data_dir: Folder of prepared TFDS data sets; None: TFDS_DATA_DIR.
        validation: Share of train to hold out for validation; None: 10 % if the source has no
            validation split.
        seed: Which examples are held out for validation.
        reads: The splits that will be read; None: all.
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
    cardinality: x raw (of a dtype that `kept_dtype` returns, shape `input_shape`), y a class id
    (int64 scalar). An unlabeled data set has no class names, and its elements are x alone.

    Attributes:
        train: For training.
        validation: For the choice of settings and epochs.
        test: For the evaluation at the end.
        class_names: One per class, by class id.
        input_shape: Shape of one x.
        name: A short name, such as "digits".
        spec: The spec string that names the source.
        notes: How the splits were made, a sentence each.
        warnings: What the source skipped, a sentence each.
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
        """Whether the elements are `(x, y)`; without labels they are x alone."""
        return bool(self.class_names)

    def need_labels(self, what: str) -> None:
        """Refuses a data set without labels.

        Args:
            what: What needs them, the start of a sentence: "A run".

        Raises:
            InputError: If the examples have no labels.
        """
        if not self.labeled:
            raise InputError(
                f"{self.spec}: the examples have no labels. {what} needs them. To train on soft"
                " targets alone, use Distiller(teacher, student).fit(splits.train.batch(128))."
            )

    @property
    def is_text(self) -> bool:
        """Whether x is text, which a model must turn into numbers itself."""
        element: Any = self.train.element_spec
        return (element[0] if self.labeled else element).dtype == tf.string


def stratified(labels: Array, count: int, seed: int) -> Array:
    """Picks `count` examples so that each class has the share that it has among `labels`.

    Each class gets the whole part of its share; the remaining ones go to the classes with the
    largest remainder, lower class ids first. Which examples of a class are picked depends on
    `seed` only (NumPy's legacy generator, whose stream is frozen).

    Args:
        labels: int, `(n,)`.
        count: How many to pick, 0..n.
        seed: Seed of the choice within each class.

    Returns:
        int64 `(count,)`: positions in `labels`, ascending.

    Example:
        >>> stratified(np.array([0, 0, 1, 1, 1, 1]), 3, seed=0).tolist()
        [1, 2, 4]
    """
    classes, sizes = np.unique(labels, return_counts=True)
    shares = sizes * (count / max(len(labels), 1))
    quota = np.floor(shares).astype(np.int64)
    by_remainder = np.argsort(-(shares - quota), kind="stable")
    quota[by_remainder[: count - int(quota.sum())]] += 1
    random = np.random.RandomState(seed)
    picks = [
        random.permutation(np.flatnonzero(labels == label))[:taken]
        for label, taken in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(picks)) if picks else np.zeros(0, np.int64)


def check_validation(validation: float | None) -> float | None:
    """Returns the share of train to hold out, if it is valid.

    Raises:
        InputError: If it is not a number > 0 and <= 0.5.
    """
    if validation is None:
        return None
    return check_number("validation", validation, above=0, at_most=0.5)


def held_out(labels: Array, share: float, seed: int, *, what: str, source: str) -> Array:
    """Picks the positions of the examples to hold out of train, each class in proportion.

    Args:
        labels: int, `(n,)`: the labels of train.
        share: The share of train to hold out.
        seed: Seed of the choice.
        what: "validation" or "test", for errors.
        source: The spec, for errors.

    Returns:
        int64, ascending; at least one, and never a class's last example.

    Raises:
        InputError: If train is too small.
    """
    picks = stratified(labels, max(1, round(len(labels) * share)), seed)
    rest = np.delete(labels, picks)
    if not len(picks) or set(np.unique(labels)) - set(np.unique(rest)):
        raise InputError(
            f"{source}: too few examples to hold {what} out of train: every class needs at least 2."
            f" Received: {len(labels)} examples."
        )
    return picks


@dataclass
class Arrays:
    """Examples in memory: x `(n, ...)` and y `(n,)` or None, checked by `check_arrays`."""

    x: Array
    y: Array | None

    def take(self, picks: Array) -> "Arrays":
        """Returns the examples at the positions `picks`."""
        return Arrays(self.x[picks], None if self.y is None else self.y[picks])

    def drop(self, picks: Array) -> "Arrays":
        """Returns all other examples."""
        return self.take(np.delete(np.arange(len(self.x)), picks))

    def dataset(self) -> Dataset:
        """Returns the examples as a data set of `(x, y)`, or of x."""
        return in_memory(self.x if self.y is None else (self.x, self.y))


def in_memory(arrays: Any) -> Dataset:
    """Returns the rows of arrays, or of a structure of arrays, as a data set."""
    return MemoryDataset(arrays)


def kept_dtype(dtype: npt.DTypeLike) -> np.dtype[Any] | None:
    """Returns the dtype in which examples of a dtype are kept; None if it is neither of numbers
    nor text.

    Whole numbers stay whole, because a model may look them up (`Embedding`): uint8, int32, and
    int64 are kept, other integers become int32 or int64. Text stays text. All other numbers become
    float32.

    Example:
        >>> [str(kept_dtype(d)) for d in ("uint8", "int16", "uint32", "float64", "bool")]
        ['uint8', 'int32', 'int64', 'float32', 'float32']
    """
    dtype = np.dtype(dtype)
    if dtype.kind in "US":
        return dtype
    if dtype.kind in "fb":
        return np.dtype(np.float32)
    if dtype.kind not in "ui":
        return None
    if dtype == np.uint8:
        return dtype
    return np.dtype(np.int32 if dtype.itemsize < 4 or dtype == np.int32 else np.int64)


def check_arrays(x: npt.ArrayLike, y: npt.ArrayLike | None, *, where: str) -> Arrays:
    """Returns x in the dtype of `kept_dtype` and y as int64 class ids, or names.

    Args:
        x: Numbers `(n, ...)`, or text `(n,)` or `(n, ...)`.
        y: Whole numbers, or names of classes, `(n,)` or `(n, 1)`; None: unlabeled.
        where: The name of the arrays, for errors: "data.npz: train".

    Raises:
        InputError: If a dtype or shape is wrong, lengths differ, x is not finite, or a label is
            negative.
    """
    x = _checked_x(to_array(f"{where}: x", x), where)
    if y is None:
        return Arrays(x, None)
    return Arrays(x, _checked_labels(to_array(f"{where}: y", y), len(x), where))


def _checked_x(x: Array, where: str) -> Array:
    dtype = kept_dtype(x.dtype)
    if dtype is None or x.ndim < (1 if dtype.kind in "US" else 2):
        raise InputError(
            f"{where}: x must be numbers of shape (examples, ...), or text. Received: {x.dtype}"
            f" {x.shape}."
        )
    if not len(x):
        raise InputError(f"{where}: no examples.")
    if x.dtype == np.uint64 and x.max() > np.iinfo(np.int64).max:
        raise InputError(f"{where}: whole numbers in x must be < 2**63. Received: {x.max()}.")
    x = np.ascontiguousarray(x, dtype)
    if dtype.kind == "f" and not np.isfinite(x).all():
        raise InputError(f"{where}: x must be finite (no NaN, no infinity).")
    return x


def _checked_labels(y: Array, examples: int, where: str) -> Array:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind not in "uiU":
        hint = " Take argmax of one-hot rows." if y.ndim == 2 else ""
        raise InputError(
            f"{where}: labels must be whole numbers of shape (examples,), the class ids."
            f" Received: {y.dtype} {y.shape}.{hint}"
        )
    if examples != len(y):
        raise InputError(f"{where}: {examples} examples, but {len(y)} labels.")
    if y.dtype.kind == "U":
        return y
    y = y.astype(np.int64)
    if y.min() < 0:
        raise InputError(f"{where}: labels must be >= 0. Received: {y.min()}.")
    return y


def check_labels(
    labels: dict[str, Array], class_names: tuple[str, ...] | None, *, source: str
) -> tuple[str, ...]:
    """Returns the class names, if train has examples of every class.

    Args:
        labels: Split -> int64 labels; "train" is among them.
        class_names: The names; None: the ids become the names.
        source: The spec, for errors.

    Raises:
        InputError: If there are fewer than 2 classes, train lacks one, or a label is out of range.
    """
    train = labels["train"]
    largest, examples = int(train.max()), len(train)
    if class_names is None and largest >= examples:
        raise InputError(
            f"{source}: labels must number the classes from 0 without a gap, each with training"
            f" examples. Received: label {largest} among {examples} training examples."
        )
    if class_names is None:
        class_names = tuple(str(i) for i in range(largest + 1))
    if len(class_names) < 2:
        raise InputError(f"{source}: needs at least 2 classes. Received: {len(class_names)}.")
    for split, values in labels.items():
        if values.min() < 0 or values.max() >= len(class_names):
            wrong = values.min() if values.min() < 0 else values.max()
            raise InputError(
                f"{source}: labels of {split} must be in 0..{len(class_names) - 1},"
                f" the classes of train. Received: {wrong}."
            )
    counts = np.bincount(train, minlength=len(class_names))
    if not counts.all():
        empty = int(np.argmin(counts))
        raise InputError(
            f"{source}: class {empty} ({class_names[empty]}) has no training examples;"
            " labels must number the classes from 0 without a gap."
            + (" Subtract 1 from all labels." if empty == 0 and int(train.min()) == 1 else "")
        )
    return class_names


def class_names_of(
    labels: dict[str, Array],
    splits: Collection[str],
    class_names: tuple[str, ...] | None,
    *,
    source: str,
) -> tuple[str, ...]:
    """Returns what `check_labels` does; without any labels no names.

    Args:
        labels: Split -> int64 labels, of the splits that have them.
        splits: All splits.
        class_names: As for `check_labels`.
        source: The spec, for errors.

    Raises:
        InputError: If only some splits have labels, or names come without labels.
    """
    if labels and len(labels) < len(splits):
        without = ", ".join(sorted(set(splits) - set(labels)))
        raise InputError(
            f"{source}: all splits must have labels, or none. Received: no labels in {without}."
        )
    if labels:
        return check_labels(labels, class_names, source=source)
    if class_names is not None:
        raise InputError(f"{source}: class_names need labels. Received: none.")
    return ()


def _number_names(
    parts: Mapping[str, Arrays], class_names: tuple[str, ...] | None, source: str
) -> tuple[str, ...] | None:
    """Replaces labels that are names of classes by class ids; returns the names by class id.

    Without `class_names` the ids are in the order of the names.

    Raises:
        InputError: If a label of another split, or a label where names are given, is unknown.
    """
    named = [y for part in parts.values() if (y := part.y) is not None and y.dtype.kind == "U"]
    if not named:
        return class_names
    names = class_names or tuple(np.unique(named[0]).tolist())
    ids = {name: number for number, name in enumerate(names)}
    for split, part in parts.items():
        if part.y is None:
            continue
        unknown = sorted(set(map(str, part.y.tolist())) - set(ids))
        if unknown:
            raise InputError(
                f"{source}: labels of {split} must be names of the classes"
                f" ({', '.join(names):.150}). Received: {unknown[0]!r:.60}."
            )
        part.y = np.array([ids[str(label)] for label in part.y.tolist()], np.int64)
    return names


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
        arrays: "train" and where the source has them "validation" and "test" -> (x, y), or
            (x, None) for all of them: unlabeled.
        source: What `load` was called with.
        name: The short name.
        class_names: The names of the classes; None: their ids.
        notes: Sentences about splits made before.

    Raises:
        InputError: If the arrays are not a data set, or `validation` is given and the source has
            a validation split.
    """
    text = source.text
    parts = {
        split: check_arrays(x, y, where=f"{text}: {split}") for split, (x, y) in arrays.items()
    }
    class_names = _number_names(parts, class_names, text)
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
    """Returns which splits to hold out of train, in this order, as (split, share, seed).

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
    """Returns the sentence that says how a split was held out."""
    return f"{split}: {count} of {total} training examples held out, stratified, seed {seed}"
