"""`idx:DIR`: IDX files, the format of MNIST and Fashion-MNIST, plain or gzipped."""

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from keras_distill._internal import InputError, _archives, _files
from keras_distill._internal._types import Array
from keras_distill.data._splits import Source, Splits, from_arrays

# The first part of the file names of each split, before "-images" or "-labels".
_PREFIXES = {"train": ("train",), "validation": ("validation", "val"), "test": ("t10k", "test")}
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_BYTES, _MAX_RANK = 8 << 30, 8


def load(source: Source) -> Splits:
    """Loads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and the files of other splits.

    The names are SPLIT-images and SPLIT-labels, followed by `-idxN-TYPE` or `.idxN-TYPE`, and an
    optional `.gz`. SPLIT is train, t10k (or test), or validation (or val). Images of shape
    (height, width) get a channel: `(height, width, 1)`.

    Raises:
        InputError: If a file is missing, is not IDX, is truncated, or does not match the others.
    """
    spec = source.spec
    spec.read()
    folder = Path(spec.argument).expanduser()
    if not spec.argument or not folder.is_dir():
        raise InputError(f"{spec.text}: no folder {spec.argument!r}. Write idx:DIR.")
    arrays: dict[str, tuple[Array, Array]] = {}
    for split, prefixes in _PREFIXES.items():
        images = _find(folder, prefixes, "images")
        labels = _find(folder, prefixes, "labels")
        if images is None and labels is None and split != "train":
            continue
        if images is None or labels is None:
            part = "images" if images is None else "labels"
            raise InputError(
                f"{spec.text}: no file {prefixes[0]}-{part}-idx*-ubyte, plain or .gz, in {folder}."
            )
        x, y = read(images), read(labels)
        if y.ndim != 1 or x.ndim < 2:
            raise InputError(
                f"{spec.text}: {images.name} must contain examples and {labels.name} their labels."
                f" Received: shapes {x.shape} and {y.shape}."
            )
        arrays[split] = (x[..., np.newaxis] if x.ndim == 3 else x, y)
    return from_arrays(arrays, source, name=folder.resolve().name)


def _find(folder: Path, prefixes: tuple[str, ...], part: str) -> Path | None:
    for prefix in prefixes:
        for joint in ("-", "."):
            found = sorted(folder.glob(f"{prefix}-{part}{joint}idx?-*"))
            if found:
                return found[0]
    return None


def read(path: Path) -> Array:
    """Reads one IDX file, gzipped or not, as its first bytes show.

    The format is two zero bytes, a type, the number of dimensions, each dimension as a big-endian
    32-bit integer, then the values, big-endian (http://yann.lecun.com/exdb/mnist).

    Args:
        path: The file.

    Returns:
        The values, in native byte order.

    Raises:
        InputError: If the file is not readable, not IDX, truncated, or too large, or has bytes
            after the values.
    """
    size = _files.check_file(path).stat().st_size
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else open(path, "rb") as file:
            return _parse(cast("IO[bytes]", file), path, size, zipped)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}.") from error


def _parse(file: IO[bytes], path: Path, size: int, zipped: bool) -> Array:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not magic[3]:
        raise InputError(f"{path}: not an IDX file: it begins with {magic.hex(' ') or 'nothing'}.")
    dtype, rank = np.dtype(_DTYPES[magic[2]]), magic[3]
    header = file.read(4 * rank)
    if len(header) < 4 * rank:
        raise InputError(f"{path}: truncated in its header.")
    if rank > _MAX_RANK:
        raise InputError(f"{path}: must have at most {_MAX_RANK} dimensions. It has {rank}.")
    shape = tuple(np.frombuffer(header, ">u4").tolist())
    expected = math.prod(shape) * dtype.itemsize
    if expected > _MAX_BYTES:
        raise InputError(f"{path}: declares {expected} bytes, more than {_MAX_BYTES}.")
    if zipped:
        _archives.check_unpacked(path, size, expected)
    # The values are read only if the file can hold them: a wrong shape must not allocate memory.
    found, body = size - 4 - len(header), b""
    if zipped or found == expected:
        body = file.read(expected + 1)
        found = len(body)
    if found != expected:
        more = "more" if found > expected else f"only {found}"
        raise InputError(
            f"{path}: must have {expected} bytes of values for shape {shape}, but has {more}."
        )
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="))
