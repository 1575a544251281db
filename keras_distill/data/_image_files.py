"""Reads the headers and the pixels of image files.

TensorFlow decodes PNG, JPEG, and GIF. Pillow decodes BMP, WebP, and TIFF, and reads all headers.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._types import Array, Dataset, Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
_BY_TENSORFLOW = ("PNG", "JPEG", "MPO", "GIF")  # MPO: a JPEG file with more images at its end
# The first bytes of each format. WebP is in `_is_marked`. BMP is missing: a text may start with the
# two letters that mark it.
_MARKS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*")
_GRAY = ("1", "L", "LA", "La", "I", "F")
_TAIL = 64  # the end marker of a file must be in this many last bytes
_MAX_PIXELS = 1 << 27  # per file; such an image with three channels takes 400 MB when decoded
_SHOWN = 300  # the most characters of a list of files in a message


class ImageFile(NamedTuple):
    """The contents of the header of an image file.

    Attributes:
        path: The file.
        height: The height of the image in pixels.
        width: The width of the image in pixels.
        color: Whether the image has three channels, or four with transparency.
        pillow: Whether Pillow decodes the file. If not, TensorFlow does.
    """

    path: str
    height: int
    width: int
    color: bool
    pillow: bool


class DamagedError(Exception):
    """Raised for a file that should be an image but cannot be read; the message is the reason."""


def inspect(path: Path) -> ImageFile | None:
    """Reads the header of an image file, and decodes the file if it may be truncated.

    Args:
        path: A regular file.

    Returns:
        The contents of the header; None if neither the name nor the content is that of an image.

    Raises:
        DamagedError: If the file is an image by its name or content, but cannot be read or is too
            large.
    """
    from PIL import Image, UnidentifiedImageError

    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        file.seek(max(0, size - _TAIL))
        tail = file.read()
    if path.suffix.lower() not in SUFFIXES and not _is_marked(start):
        return None
    if not size:
        raise DamagedError("it is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about large images
            with Image.open(path, formats=_FORMATS) as image:
                form, mode, (width, height) = image.format or "", image.mode, image.size
    except UnidentifiedImageError as error:
        raise DamagedError("its content is not an image") from error
    except Exception as error:  # the header readers raise many types
        raise DamagedError(_reason(error)) from error
    if width * height > _MAX_PIXELS:
        raise DamagedError(f"it has {width} x {height} pixels, more than {_MAX_PIXELS}")
    gray = mode in _GRAY or mode.startswith("I;16")
    found = ImageFile(
        str(path), height, width, form == "GIF" or not gray, form not in _BY_TENSORFLOW
    )
    if not _is_whole(form, start, tail, size):
        decode(found)
    return found


def _is_marked(start: bytes) -> bool:
    return start.startswith(_MARKS) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def _is_whole(form: str, start: bytes, tail: bytes, size: int) -> bool:
    """Returns whether a file is complete; False if only decoding it can show that."""
    if form == "PNG":
        return b"IEND" in tail
    if form in ("JPEG", "MPO"):
        return b"\xff\xd9" in tail
    if form == "GIF":
        return tail.rstrip(b"\x00").endswith(b";")
    if form == "WEBP":
        return int.from_bytes(start[4:8], "little") + 8 <= size
    return False


def decode(file: ImageFile) -> Array:
    """Decodes an image file to uint8 `(height, width, channels)`, with 1 to 4 channels.

    Raises:
        DamagedError: If the file cannot be decoded.
    """
    try:
        return _by_pillow(file.path) if file.pillow else np.asarray(_by_tensorflow(file.path))
    except Exception as error:  # the decoders raise many types
        raise DamagedError(_reason(error)) from error


def _by_tensorflow(path: str | Tensor) -> Tensor:
    return tf.io.decode_image(tf.io.read_file(path), expand_animations=False)


def _by_pillow(path: str | bytes) -> Array:
    """Decodes the first image in a file to uint8 with 1 or 3 channels."""
    from PIL import Image

    with Image.open(path, formats=_FORMATS) as image:
        if image.mode in ("I", "F"):
            raise ValueError("its pixels have 32 bits")
        if image.mode.startswith("I;16"):
            return (np.asarray(image) >> 8).astype(np.uint8)[..., None]
        pixels = np.asarray(image.convert("L" if image.mode in _GRAY else "RGB"))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _reason(error: Exception) -> str:
    """Shortens an error's message to one line without the parts about TensorFlow's graph."""
    text = re.sub(r"\{\{function_node [^}]*\}\}", "", str(error))
    text = re.sub(r"^.*Iterator::\S+ ", "", text)
    text = re.split(r"\n|\[\[|\{\{|: b'|, got |\. Received", text)[0]
    return text.strip().rstrip(".")[:120] or type(error).__name__


def fitted(pixels: Any, shape: tuple[int, int, int], *, resize: bool) -> Tensor:
    """Converts decoded pixels to uint8 images of one shape; works in a graph.

    Args:
        pixels: uint8 `(height, width, 1..4)`.
        shape: The shape of the result, `(height, width, 1 or 3)`. Transparency is dropped.
        resize: Whether to resize (bilinear, antialiased).
    """
    color = tf.shape(pixels)[-1] > 2
    # Gray with transparency has 2 channels; color with transparency has 4.
    if shape[2] == 1:
        gray = lambda: tf.image.rgb_to_grayscale(pixels[..., :3])  # noqa: E731
        x = tf.cond(color, gray, lambda: pixels[..., :1])
    else:
        x = tf.cond(color, lambda: pixels[..., :3], lambda: tf.repeat(pixels[..., :1], 3, axis=-1))
    if resize:
        x = tf.image.resize(x, shape[:2], antialias=True)
        x = tf.cast(tf.clip_by_value(tf.round(x), 0, 255), tf.uint8)
    return tf.ensure_shape(x, shape)


def stream(files: Sequence[ImageFile], shape: tuple[int, int, int], *, resize: bool) -> Dataset:
    """Returns a data set of images that are decoded when they are read.

    Args:
        files: The files.
        shape: As for `fitted`.
        resize: As for `fitted`.
    """
    paths = [file.path for file in files]
    by_pillow = [file.pillow for file in files]

    def one(path: Tensor, pillow: Tensor) -> Tensor:
        if not any(by_pillow):
            return fitted(_by_tensorflow(path), shape, resize=resize)

        def other() -> Tensor:
            pixels = tf.numpy_function(_by_pillow, [path], tf.uint8, stateful=False)
            pixels.set_shape((None, None, None))
            return pixels

        return fitted(tf.cond(pillow, other, lambda: _by_tensorflow(path)), shape, resize=resize)

    return tf.data.Dataset.from_tensor_slices((paths, by_pillow)).map(one, tf.data.AUTOTUNE)


def decode_all(
    files: Sequence[ImageFile],
    shape: tuple[int, int, int],
    *,
    resize: bool,
    what: str,
    root: Path | None = None,
) -> Array:
    """Decodes all files, in several threads, to one array.

    Args:
        files: The files.
        shape: As for `fitted`.
        resize: As for `fitted`.
        what: The name of the data, for errors.
        root: Paths in errors are relative to this folder; None leaves them unchanged.

    Returns:
        uint8 `(n, *shape)`.

    Raises:
        InputError: If files cannot be decoded; the message lists them.
    """
    pixels = np.empty((len(files), *shape), np.uint8)
    damaged: dict[str, str] = {}

    def one(number: int) -> None:
        try:
            pixels[number] = fitted(decode(files[number]), shape, resize=resize)
        except DamagedError as error:
            path = Path(files[number].path)
            damaged[str(path if root is None else path.relative_to(root))] = str(error)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(len(files))))
    refuse_damaged(damaged, len(files), what=what)
    return pixels


def read_images(paths: Sequence[Path], shape: tuple[int, int, int]) -> Array:
    """Reads images of any size and resizes them for a model, as `images:DIR?size=…` does.

    Args:
        paths: Image files.
        shape: The input shape of the model, `(height, width, 1 or 3)`.

    Returns:
        uint8 `(n, height, width, channels)`.

    Raises:
        InputError: If paths are not image files or cannot be decoded; the message lists them.
    """
    files: list[ImageFile] = []
    damaged: dict[str, str] = {}
    for path in paths:
        try:
            found = inspect(path) if path.is_file() else None
        except DamagedError as error:
            damaged[str(path)] = str(error)
            continue
        if found is None:
            damaged[str(path)] = "no such image file"
        else:
            files.append(found)
    refuse_damaged(damaged, len(paths), what="images")
    return decode_all(files, shape, resize=True, what="images")


def refuse_damaged(damaged: Mapping[str, str], count: int, *, what: str) -> None:
    """Raises one error for all damaged files, if there are any.

    Args:
        damaged: The reason for each damaged file, by path.
        count: The number of all files.
        what: The name of the data, for errors.

    Raises:
        InputError: If a file is damaged.
    """
    if not damaged:
        return
    named = listed([f"{path} ({reason})" for path, reason in sorted(damaged.items())])
    raise InputError(
        f"{what}: {len(damaged)} of {count} image files cannot be read: {named}. Replace or remove"
        " them."
    )


def listed(names: Sequence[str]) -> str:
    """Joins names with semicolons; shortens a long list and adds the number of names left out.

    Example:
        >>> listed(["a", "b"]), listed(["x" * 200] * 3).endswith("; and 2 more")
        ('a; b', True)
    """
    shown = names[:1]
    for name in names[1:]:
        if sum(map(len, shown)) + len(name) > _SHOWN:
            break
        shown = [*shown, name]
    rest = len(names) - len(shown)
    return "; ".join([*shown, *([f"and {rest} more"] if rest else [])])
