"""The table of data sources, and `load(spec)`, which calls the source that the spec names.

To add a source, write `data/_name.py` with one function `load(source: Source) -> Splits` that
returns the result of `from_arrays` or `from_streams`, and add a line to `SOURCES`.
"""

import warnings
from collections.abc import Callable, Collection
from typing import Any

from keras_distill._internal import (
    InputError,
    KerasDistillWarning,
    check_choice,
    check_count,
    did_you_mean,
)
from keras_distill._internal._checks import MAX_SEED
from keras_distill._internal._spec import Spec
from keras_distill._internal._types import PathLike
from keras_distill.data import _digits, _idx, _images, _mnist1d, _npz, _python, _tfds
from keras_distill.data._splits import SPLITS, Source, Splits, check_validation

# kind -> (loader, form of the spec, description)
SOURCES: dict[str, tuple[Callable[[Source], Splits], str, str]] = {
    "digits": (_digits.load, "digits", "1,797 real handwritten digits, 8x8; bundled"),
    "mnist1d": (_mnist1d.load, "mnist1d", "generated signals of 40 samples (extra mnist1d)"),
    "tfds": (_tfds.load, "tfds:NAME", "prepared by TensorFlow Datasets (--data-dir)"),
    "idx": (_idx.load, "idx:DIR", "IDX files, plain or gzipped, as MNIST ships"),
    "npz": (_npz.load, "npz:FILE", "x_train, y_train and so on in a NumPy archive"),
    "images": (_images.load, "images:DIR", "image files, a folder per class or without classes"),
    "py": (_python.load, "py:package.module:function", "a function that you write"),
}


def sources() -> dict[str, str]:
    """Returns a short description of each source, by the form of its spec.

    Example:
        >>> sources()["digits"]
        '1,797 real handwritten digits, 8x8; bundled'
    """
    return {written: what for _, written, what in SOURCES.values()}


def load(
    spec: str,
    *,
    data_dir: PathLike | None = None,
    validation: float | None = None,
    seed: int = 0,
    reads: Collection[str] | None = None,
) -> Splits:
    """Loads the data set that a spec string names.

    x is raw, as in the files (uint8 images stay uint8), because normalization is the first layer
    of every model. Splits that the source does not have are held out of train, stratified by
    class: 20 % for test (always the same examples), then 10 % of the rest for validation.

    Args:
        spec: One of `sources()`, such as "digits" or "tfds:mnist".
        data_dir: Folder of prepared TFDS data sets, used only by `tfds:`. None uses the
            environment variable TFDS_DATA_DIR or, if it is not set, the default folder of TFDS.
        validation: Fraction of train to hold out for validation, > 0 and <= 0.5. None means 10 %,
            or the validation split of the source.
        seed: Seed for selecting the validation examples, an integer in 0..2**32-1.
        reads: The splits that you will read, of "train", "validation", "test"; None means all. An
            `images:` source decodes these splits once. You can still read the other splits; they
            are decoded each time they are read.

    Returns:
        The splits.

    Raises:
        InputError: If the source does not exist or is not a valid data set, another argument is
            not valid, or `validation` is given and the source has a validation split.
        MissingExtraError: If the source needs a package that is not installed.

    Example:
        >>> digits = load("digits")
        >>> digits.sizes, digits.input_shape, digits.num_classes
        ({'train': 1167, 'validation': 130, 'test': 500}, (8, 8, 1), 10)
    """
    return _loaded(_source(spec, data_dir, validation, seed, reads))


def load_or_call(
    spec: str, *, data_dir: PathLike | None = None, reads: Collection[str] | None = None
) -> Any:
    """Loads the splits of a spec; a `py:` function may also return something other than splits.

    Args:
        spec: As for `load`.
        data_dir: As for `load`.
        reads: As for `load`.

    Returns:
        The splits, or the value of the `py:` function if it is neither a `Splits` nor a dict with
        "train".

    Raises:
        InputError: As for `load`.
        MissingExtraError: As for `load`.
    """
    source = _source(spec, data_dir, None, 0, reads)
    if source.spec.kind != "py":
        return _loaded(source)
    value = _python.call(source)
    return _python.splits_from(source, value) if _python.are_splits(value) else value


def _source(
    spec: str,
    data_dir: PathLike | None,
    validation: float | None,
    seed: int,
    reads: Collection[str] | None,
) -> Source:
    parsed = Spec.parse("data", spec)
    if parsed.kind not in SOURCES:
        raise InputError(
            f"data: no source {parsed.kind!r}. Choose from: {', '.join(sources())}."
            f" Received: data={spec!r}.{did_you_mean(parsed.kind, SOURCES)}"
        )
    check_count("seed", seed, at_least=0, at_most=MAX_SEED)
    for split in reads or ():
        check_choice("reads", split, SPLITS)
    return Source(parsed, data_dir, check_validation(validation), seed, reads)


def _loaded(source: Source) -> Splits:
    splits = SOURCES[source.spec.kind][0](source)
    for text in splits.warnings:
        warnings.warn(text, KerasDistillWarning, stacklevel=3)
    return splits
