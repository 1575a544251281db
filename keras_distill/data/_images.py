"""`images:DIR`: PNG and JPEG files, a folder per class."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, _spec, bad
from keras_distill._internal._spec import Spec
from keras_distill._internal._types import Array, Tensor
from keras_distill.data._splits import Source, Splits, from_arrays
from keras_distill.data._streams import MEMORY_LIMIT, from_streams

_SUFFIXES = (".png", ".jpg", ".jpeg")
_SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def load(source: Source) -> Splits:
    """Loads `DIR/CLASS/*.png`, or `DIR/train/CLASS/*.png` with siblings `val` and `test`.

    Classes and files are in the order of their names; hidden files and folders are skipped.
    Images are uint8 `(height, width, channels)`: one channel if every file is gray, else three
    (transparency is dropped). EXIF orientation is ignored.

    Options: `size=32x32` resizes every image (bilinear, antialiased, the aspect ratio may
    change); `channels=1` or `channels=3` sets the number of channels.

    Raises:
        InputError: If a folder is missing or empty, a file is not an image, or sizes differ.
    """
    spec = source.spec
    options = spec.read(size=_spec.size, channels=_channels)
    root = Path(spec.argument).expanduser()
    if not spec.argument or not root.is_dir():
        raise InputError(f"{spec.text}: no folder {spec.argument!r}. Write images:DIR.")
    folders = _split_folders(spec, root)
    names = tuple(path.name for path in _subfolders(folders["train"]))
    files = {split: _files(spec, folder, names) for split, folder in folders.items()}
    everything = [path for paths, _ in files.values() for path in paths]
    shape = _common_shape(spec, everything, options)

    def decode(path: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        return _decode(path, shape, resize="size" in options), label

    streams = {
        split: tf.data.Dataset.from_tensor_slices((paths, labels)).map(decode, tf.data.AUTOTUNE)
        for split, (paths, labels) in files.items()
    }
    name = root.resolve().name
    if len(everything) * np.prod(shape) > MEMORY_LIMIT:
        return from_streams(streams, source, name=name, class_names=names)
    arrays: dict[str, tuple[Array, Array]] = {}
    for split, ds in streams.items():
        x = np.stack(list(ds.map(lambda x, y: x).as_numpy_iterator()))
        arrays[split] = (x, files[split][1])
    return from_arrays(arrays, source, name=name, class_names=names)


def _channels(name: str, text: str) -> int:
    if text not in ("1", "3"):
        raise bad(name, "be 1 or 3", text)
    return int(text)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _split_folders(spec: Spec, root: Path) -> dict[str, Path]:
    """Returns the folder by split; the root itself is train where there are no splits."""
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


def _files(spec: Spec, folder: Path, names: tuple[str, ...]) -> tuple[list[str], Array]:
    """Returns the image files of one split, and their class ids."""
    there = [p.name for p in _subfolders(folder)]
    unknown = sorted(set(there) - set(names))
    if unknown:
        raise InputError(
            f"{spec.text}: {folder} has a class that train does not have: {unknown[0]}."
        )
    if not there:
        raise InputError(
            f"{spec.text}: {folder} must contain a folder per class. It contains none."
        )
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        if name not in there:
            raise InputError(f"{spec.text}: {folder} has no folder for class {name}.")
        inside = sorted(p for p in (folder / name).iterdir() if not p.name.startswith("."))
        for path in inside:
            if path.suffix.lower() not in _SUFFIXES or not path.is_file():
                raise InputError(f"{spec.text}: {path} is neither PNG nor JPEG ({_SUFFIXES}).")
        if not inside:
            raise InputError(f"{spec.text}: class {name} has no images in {folder / name}.")
        paths += [str(p) for p in inside]
        labels += [label] * len(inside)
    return paths, np.array(labels, np.int64)


def _decode_any(path: Tensor) -> Any:
    return tf.io.decode_image(tf.io.read_file(path), expand_animations=False)


def _common_shape(spec: Spec, paths: list[str], options: dict[str, Any]) -> tuple[int, int, int]:
    """Returns the shape of all images after resizing; reads every file, to find damaged ones."""
    shapes = tf.data.Dataset.from_tensor_slices(paths)
    shapes = shapes.map(lambda path: tf.shape(_decode_any(path)), tf.data.AUTOTUNE)
    first: tuple[int, int, str] | None = None
    color = False
    iterator = shapes.as_numpy_iterator()
    for path in paths:
        try:
            height, width, channels = next(iterator).tolist()
        except (tf.errors.OpError, ValueError) as error:
            reason = _reason(error)
            raise InputError(f"{path}: not a readable PNG or JPEG image ({reason}).") from error
        color |= channels > 2
        first = first or (height, width, path)
        if (height, width) != first[:2] and "size" not in options:
            raise InputError(
                f"{spec.text}: images must be of one size. {first[2]} is {first[0]}x{first[1]},"
                f" {path} is {height}x{width}. Add an option such as ?size=32x32."
            )
    assert first is not None  # every class has an image
    height, width = options.get("size", first[:2])
    return (height, width, options.get("channels", 3 if color else 1))


def _reason(error: Exception) -> str:
    """Returns the message without the parts about TensorFlow's graph."""
    text = re.sub(r"\{\{function_node [^}]*\}\}", "", str(error))
    text = re.sub(r"^.*Iterator::\S+ ", "", text)
    return re.split(r"\n|\[\[|\{\{", text)[0].strip().rstrip(".")


def _decode(path: Tensor, shape: tuple[int, int, int], *, resize: bool) -> Tensor:
    """Decodes one file as uint8 of that shape."""
    x: Any = _decode_any(path)
    color = tf.shape(x)[-1] > 2
    # Gray with transparency has 2 channels, color with transparency 4.
    if shape[2] == 1:
        x = tf.cond(color, lambda: tf.image.rgb_to_grayscale(x[..., :3]), lambda: x[..., :1])
    else:
        x = tf.cond(color, lambda: x[..., :3], lambda: tf.repeat(x[..., :1], 3, axis=-1))
    if resize:
        x = tf.image.resize(x, shape[:2], antialias=True)
        x = tf.cast(tf.clip_by_value(tf.round(x), 0, 255), tf.uint8)
    return tf.ensure_shape(x, shape)
