"""`tfds:NAME`: data sets that TensorFlow Datasets has prepared on this machine; no network."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, _spec
from keras_distill._internal._spec import Spec
from keras_distill._internal._types import Array, Dataset, PathLike, Tensor
from keras_distill.data._labels import select
from keras_distill.data._splits import Source, Splits, from_arrays
from keras_distill.data._streams import MEMORY_LIMIT, from_streams

_TRAIN = ("train",)
_VALIDATION = ("validation", "valid", "val", "dev")
_TEST = ("test",)

# Data sets whose authors define a test split that TFDS does not have: name -> (feature, pattern).
# Free Spoken Digit Dataset, README: recordings numbered 0..4 of each speaker and digit are test.
_TEST_PATTERN = {"spoken_digit": ("audio/filename", r".*_[0-4]\.wav")}


def load(source: Source) -> Splits:
    """Loads a prepared data set, with x and y from its supervised keys.

    Splits: `train`, and `validation` (also valid, val, dev) and `test` if present. Without a test
    split, the validation split becomes the test split. With neither, the test split is held out of
    train (`spoken_digit`: the recordings 0..4, as its authors define).

    Options: `label=FEATURE` reads a label other than the supervised one, as in
    `tfds:cifar100?label=coarse_label`; `size=32x32` resizes images (bilinear, rounded to uint8);
    `length=N` truncates sequences of varying length (audio) to N values, or pads them with zeros.

    The argument is NAME, NAME/config, or NAME:version, as in TFDS.

    Raises:
        InputError: If the data set is not prepared, its label is not a class label, its shapes vary
            without `size` or `length`, or an option is not valid.
    """
    spec = source.spec
    options = spec.read(label=_spec.text, size=_spec.size, length=_spec.count())
    builder = _builder(spec, source.data_dir)
    features = builder.info.features
    x_key, y_key = _keys(spec, builder.info, options.get("label"))
    prepare = _preparer(spec, features[x_key], options)
    split_of = _split_names(spec, builder.info)

    def stream(split: str) -> Dataset:
        decoded = builder.as_dataset(split=split_of[split], shuffle_files=False)
        return decoded.map(
            lambda e: (prepare(e[x_key]), tf.cast(e[y_key], tf.int64)), tf.data.AUTOTUNE
        )

    streams = {split: stream(split) for split in split_of}
    notes = _notes(builder.info, split_of)
    if "test" not in streams and builder.info.name in _TEST_PATTERN:
        test, note = _authors_test(builder, split_of["train"])
        streams["test"] = select(streams["train"], test)
        streams["train"] = select(streams["train"], ~test)
        notes += (note,)
    name, names = builder.info.name, tuple(features[y_key].names)
    x: Any = streams["train"].element_spec
    total = sum(int(ds.cardinality()) for ds in streams.values())
    if total * x[0].shape.num_elements() * x[0].dtype.size > MEMORY_LIMIT:
        return from_streams(streams, source, name=name, class_names=names, notes=notes)
    arrays = {split: _collect(ds) for split, ds in streams.items()}
    return from_arrays(arrays, source, name=name, class_names=names, notes=notes)


def _authors_test(builder: Any, train: str) -> tuple[Array, str]:
    """Returns which training examples the authors define as test, bool `(n,)`, and a note."""
    feature, regex = _TEST_PATTERN[builder.info.name]
    examples = builder.as_dataset(split=train, shuffle_files=False)
    matches = examples.map(lambda e: tf.strings.regex_full_match(e[feature], regex))
    test = np.fromiter(matches.as_numpy_iterator(), bool)
    return test, f"test: the {test.sum()} training examples whose {feature} matches {regex}"


def _builder(spec: Spec, data_dir: PathLike | None) -> Any:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import constants

    given = data_dir or os.environ.get("TFDS_DATA_DIR") or constants.DATA_DIR
    folder = Path(given).expanduser()
    code = f'import tensorflow_datasets as t; t.load("{spec.argument}", data_dir="{folder}")'
    prepare = f"To prepare it (with a network): python -c {shlex.quote(code)}"
    if not folder.is_dir():
        raise InputError(
            f"{spec.text}: no folder {folder}. Give the folder of prepared data sets: --data-dir or"
            f" TFDS_DATA_DIR. {prepare}"
        )
    there = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name != "downloads")
    here = f"Prepared there: {', '.join(there) or 'none'}."
    name = spec.argument.partition("/")[0].partition(":")[0]
    if name not in there:
        raise InputError(
            f"{spec.text}: {folder} has no prepared data set {name!r}. {here} {prepare}"
        )
    try:
        builder = tfds.builder(spec.argument, data_dir=str(folder))
        splits = builder.info.splits
    except (
        Exception
    ) as error:  # TFDS raises its own errors, ValueError, AssertionError, json errors
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{spec.text}: TFDS cannot read it in {folder}: {reason}") from error
    if not splits:
        raise InputError(
            f"{spec.text}: not prepared in {folder} (its files are not there). {here} {prepare}"
        )
    return builder


def _keys(spec: Spec, info: Any, label: str | None) -> tuple[str, str]:
    """Returns the names of the features to use as x and y."""
    import tensorflow_datasets as tfds

    keys = info.supervised_keys
    if not (isinstance(keys, tuple) and len(keys) == 2 and all(isinstance(k, str) for k in keys)):
        raise InputError(f"{spec.text}: needs supervised keys (input, label). It has: {keys}.")
    features = info.features
    classes = [k for k, f in features.items() if isinstance(f, tfds.features.ClassLabel)]
    y_key = label or keys[1]
    if y_key not in classes or features[y_key].num_classes is None:
        raise InputError(
            f"{spec.text}: {y_key!r} must be a class label. Class labels there:"
            f" {', '.join(classes) or 'none'}."
        )
    return keys[0], y_key


def _split_names(spec: Spec, info: Any) -> dict[str, str]:
    """Returns the name of the source's split for each of train, validation, and test."""
    found: dict[str, str] = {}
    for split, names in (("train", _TRAIN), ("validation", _VALIDATION), ("test", _TEST)):
        there = [n for n in names if n in info.splits]
        if there:
            found[split] = there[0]
    if "train" not in found:
        raise InputError(f"{spec.text}: needs a split 'train'. It has: {', '.join(info.splits)}.")
    if "test" not in found and "validation" in found:
        found["test"] = found.pop("validation")
    return found


def _notes(info: Any, split_of: dict[str, str]) -> tuple[str, ...]:
    version = f"TFDS {info.full_name}"
    if split_of.get("test", "test") != "test":
        return (version, f"test: the source's split {split_of['test']!r}; it has no split 'test'")
    return (version,)


def _preparer(spec: Spec, feature: Any, options: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """Returns a function that converts x to a fixed shape."""
    shape, dtype = feature.shape, feature.np_dtype
    if "length" in options:
        if not shape or shape[0] is not None or None in shape[1:]:
            raise InputError(f"{spec.text}: `length` is for sequences. x has shape {shape}.")
        length = options["length"]

        def fixed(x: Tensor) -> Tensor:
            x = x[:length]
            x = tf.pad(x, [[0, length - tf.shape(x)[0]]] + [[0, 0]] * (len(shape) - 1))
            return tf.cast(tf.ensure_shape(x, (length, *shape[1:])), tf.float32)

        return fixed
    if "size" in options:
        if len(shape) != 3 or shape[2] is None or dtype != np.uint8:
            raise InputError(f"{spec.text}: `size` is for images. x is {dtype} of shape {shape}.")
        size = options["size"]
        return lambda x: tf.cast(tf.round(tf.image.resize(x, size)), tf.uint8)
    if feature.tf_dtype == tf.string and None not in shape:
        return lambda x: x
    if not shape or None in shape:
        remedy = (
            "?size=32x32" if len(shape) == 3 else "?length=8000 (truncated, or padded with zeros)"
        )
        raise InputError(
            f"{spec.text}: examples must have one shape. Received: {shape}, where None varies."
            f" Add an option such as {remedy}."
        )
    return lambda x: x  # `from_arrays` and `from_streams` choose the dtype


def _collect(ds: Dataset) -> tuple[Array, Array]:
    """Reads a finite data set into memory as arrays (x, y)."""
    parts = list(ds.batch(1024).as_numpy_iterator())
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
