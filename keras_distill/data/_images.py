"""`images:DIR`: image files in one folder per class, or without classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, _spec, bad
from keras_distill._internal._spec import Spec
from keras_distill._internal._types import Array, Dataset
from keras_distill.data._checked_arrays import class_names_of, in_memory
from keras_distill.data._image_files import (
    DamagedError,
    ImageFile,
    decode_all,
    inspect,
    listed,
    refuse_damaged,
    stream,
)
from keras_distill.data._splits import Source, Splits, missing, note
from keras_distill.data._stratified import held_out
from keras_distill.data._streams import MEMORY_LIMIT

_SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class _Part(NamedTuple):
    """The images of one split and their class ids, which are None if there are no classes."""

    files: list[ImageFile]
    labels: Array | None

    def take(self, picks: Array) -> "_Part":
        labels = None if self.labels is None else self.labels[picks]
        return _Part([self.files[i] for i in picks], labels)


def load(source: Source) -> Splits:
    """Loads `DIR/CLASS/*.png`, or `DIR/train/CLASS/*.png` and, if present, `DIR/val`, `DIR/test`.

    Images without class folders are unlabeled: `DIR/*.png`, or `DIR/train/*.png`. The elements are
    then x alone. The validation folder may also be named valid or validation.

    Classes and files are sorted by name. Hidden files and folders are skipped. The formats are PNG,
    JPEG, GIF (the first frame), BMP, WebP, and TIFF; files are recognized by name and by content.
    Files that are not images are skipped with a warning that counts them. The header and the end
    of every file are read first, so that truncated files are detected immediately.

    Images are uint8 `(height, width, channels)`: one channel if every file is gray, else three
    (transparency is dropped). EXIF orientation is ignored. The splits in `source.reads` are decoded
    once, into memory, if all of them fit. Other splits are decoded whenever they are read.

    Options: `size=32x32` resizes every image (bilinear, antialiased, the aspect ratio may
    change); `channels=1` or `channels=3` sets the number of channels; `strict=1` rejects files
    that are not images.

    Raises:
        InputError: If a folder is missing or empty, sizes differ without `size`, files are damaged,
            or an option is not valid.
    """
    spec = source.spec
    options = spec.read(size=_spec.size, channels=_channels, strict=_spec.flag)
    root = Path(spec.argument).expanduser()
    if not spec.argument or not root.is_dir():
        raise InputError(f"{spec.text}: no folder {spec.argument!r}. Write images:DIR.")
    folders = _split_folders(spec, root)
    names = tuple(path.name for path in _subfolders(folders["train"]))
    reader = _Reader(spec, root, strict=options.get("strict", False))
    parts = {split: _part(spec, folder, names, reader) for split, folder in folders.items()}
    warned = reader.finish()
    notes: tuple[str, ...] = ()
    shape = _common_shape(spec, [f for part in parts.values() for f in part.files], options)
    labels = {split: part.labels for split, part in parts.items() if part.labels is not None}
    class_names_of(labels, parts, names or None, source=spec.text)
    for split, share, seed in missing(parts, source):
        train = parts["train"]
        total = len(train.files)
        known = np.zeros(total, np.int64) if train.labels is None else train.labels
        picks = held_out(known, share, seed, what=split, source=spec.text)
        parts[split] = train.take(picks)
        parts["train"] = train.take(np.delete(np.arange(total), picks))
        notes += (note(split, len(picks), total, seed),)
    datasets = _datasets(parts, source, shape, resize="size" in options, root=root)
    return Splits(
        train=datasets["train"],
        validation=datasets["validation"],
        test=datasets["test"],
        class_names=names,
        input_shape=shape,
        name=root.resolve().name,
        spec=spec.text,
        notes=notes,
        warnings=warned,
    )


def _channels(name: str, text: str) -> int:
    if text not in ("1", "3"):
        raise bad(name, "be 1 or 3", text)
    return int(text)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _split_folders(spec: Spec, root: Path) -> dict[str, Path]:
    """Returns the folder of each split; without a folder `train`, the root is the train split."""
    subfolders = _subfolders(root)
    if not any(p.name == "train" for p in subfolders):
        return {"train": root}
    folders: dict[str, Path] = {}
    for path in subfolders:
        split = _SPLITS.get(path.name)
        if split is None or split in folders:
            raise InputError(
                f"{spec.text}: next to train there may be val and test, nothing else. Received:"
                f" {path.name}."
            )
        folders[split] = path
    return folders


class _Reader:
    """Reads the headers of files; collects damaged files and files that are not images.

    Args:
        spec: The spec.
        root: Paths in messages are relative to this folder.
        strict: Whether to reject files that are not images.

    Attributes:
        damaged: The reason for each damaged file, by path.
    """

    def __init__(self, spec: Spec, root: Path, *, strict: bool) -> None:
        self._spec, self._root, self._strict = spec, root, strict
        self._count = 0
        self.damaged: dict[str, str] = {}
        self._skipped: list[str] = []

    def images(self, folder: Path) -> list[ImageFile]:
        """Returns the image files in a folder, sorted by name."""
        found: list[ImageFile] = []
        for path in sorted(p for p in folder.iterdir() if not p.name.startswith(".")):
            if not path.is_file():
                raise InputError(
                    f"{self._spec.text}: {path} is not a regular file. Move it elsewhere: images"
                    " must be directly in the folder of their class."
                )
            try:
                file = inspect(path)
            except DamagedError as error:
                self.damaged[self._named(path)] = str(error)
                continue
            if file is None:
                self._skipped.append(self._named(path))
            else:
                found.append(file)
        self._count += len(found)
        return found

    def finish(self) -> tuple[str, ...]:
        """Raises an error for damaged files, and if strict, for files that are not images.

        Returns:
            A sentence on the skipped files, or nothing if no file was skipped.
        """
        text, images = self._spec.text, self._count + len(self.damaged)
        refuse_damaged(self.damaged, images, what=text)
        if not self._skipped:
            return ()
        count = len(self._skipped)
        said = f"not images ({count} of {images + count} files): {listed(self._skipped)}"
        if self._strict:
            raise InputError(f"{text}: {said}. Remove them, or leave strict (--strict) out.")
        return (f"{text}: skipped, {said}",)

    def _named(self, path: Path) -> str:
        return str(path.relative_to(self._root))


def _part(spec: Spec, folder: Path, names: tuple[str, ...], reader: _Reader) -> _Part:
    """Finds the images of one split and their labels."""
    there = [p.name for p in _subfolders(folder)]
    unknown = sorted(set(there) - set(names))
    if unknown:
        raise InputError(
            f"{spec.text}: {folder} has a class that train does not have: {unknown[0]}."
        )
    if not names:
        files = reader.images(folder)
        if not files:
            raise InputError(
                f"{spec.text}: {folder} must contain images, or a folder of images per class. It"
                " contains none."
            )
        return _Part(files, None)
    files, labels = [], []
    for label, name in enumerate(names):
        if name not in there:
            raise InputError(f"{spec.text}: {folder} has no folder for class {name}.")
        damaged = len(reader.damaged)
        inside = reader.images(folder / name)
        if not inside and damaged == len(reader.damaged):
            raise InputError(f"{spec.text}: class {name} has no images in {folder / name}.")
        files += inside
        labels += [label] * len(inside)
    return _Part(files, np.array(labels, np.int64))


def _common_shape(
    spec: Spec, files: Sequence[ImageFile], options: Mapping[str, Any]
) -> tuple[int, int, int]:
    """Returns the shape that all images have after resizing."""
    first = files[0]
    other = next((f for f in files if (f.height, f.width) != (first.height, first.width)), None)
    if other is not None and "size" not in options:
        raise InputError(
            f"{spec.text}: images must be of one size. {first.path} is"
            f" {first.height}x{first.width}, {other.path} is {other.height}x{other.width}. Add an"
            " option such as ?size=32x32."
        )
    height, width = options.get("size", (first.height, first.width))
    color = any(file.color for file in files)
    return (height, width, options.get("channels", 3 if color else 1))


def _datasets(
    parts: Mapping[str, _Part],
    source: Source,
    shape: tuple[int, int, int],
    *,
    resize: bool,
    root: Path,
) -> dict[str, Dataset]:
    """Returns the data set of each split; the splits that are read are in memory if they fit."""
    read = [split for split in parts if source.reads is None or split in source.reads]
    fit = sum(len(parts[split].files) for split in read) * np.prod(shape) <= MEMORY_LIMIT
    found: dict[str, Dataset] = {}
    for split, (files, labels) in parts.items():
        if fit and split in read:
            x = decode_all(files, shape, resize=resize, what=source.text, root=root)
            found[split] = in_memory(x if labels is None else (x, labels))
            continue
        images = stream(files, shape, resize=resize)
        if labels is not None:
            images = tf.data.Dataset.zip(images, tf.data.Dataset.from_tensor_slices(labels))
        found[split] = images
    return found
