"""Reads NumPy files of the user, and checks their headers before memory is allocated."""

import math
import tokenize
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from keras_distill._internal import InputError, _archives, _files
from keras_distill._internal._types import PathLike

if TYPE_CHECKING:
    from keras_distill._internal._types import Array

# The exceptions that NumPy raises on an invalid header.
_HEADER_ERRORS = (
    ValueError,
    TypeError,
    SyntaxError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
)
_PICKLED = (
    "contains Python objects (pickles), which are never read. Save arrays of numbers, with"
    " numpy.savez or numpy.save."
)


def read_npy(path: PathLike) -> "Array":
    """Returns the array in an `.npy` file as a memory map, so that values are read on access.

    Raises:
        InputError: If the file is missing, is not an `.npy` file, contains pickles, or does not
            have the size that its header declares.
    """
    path = _files.check_file(path)
    try:
        with path.open("rb") as file:
            _check_header(file, path.stat().st_size, str(path))
        if not path.stat().st_size:
            raise EOFError
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(str(path), error) from error


def read_npz(path: PathLike, keys: Collection[str] | None = None) -> "dict[str, Array]":
    """Returns the arrays in an `.npz` archive, by name.

    Args:
        path: The file.
        keys: The names that the archive may contain. If None, any.

    Raises:
        InputError: If the file is not an archive of `.npy` files, is damaged, contains pickles or a
            name that is not in `keys`, or a member does not have the size that its header declares.
    """
    path = Path(path)
    _archives.check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if keys is not None and name not in keys:
                    raise InputError(f"{path}: may hold {', '.join(keys)}. It holds: {name:.60}.")
                with archive.open(member) as file:
                    _check_header(file, member.file_size, f"{path}: {member.filename:.60}")
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise _unreadable(str(path), error) from error


def _check_header(file: IO[bytes], size: int, what: str) -> None:
    """Checks that the header of an array matches the size of the file.

    Args:
        file: The file, opened at its start.
        size: The size of the file, in bytes.
        what: The name of the file, for error messages.

    Raises:
        InputError: If the header is invalid, declares another size, or declares Python objects.
    """
    start = file.read(2)
    if start[:1] == b"\x80":
        raise InputError(f"{what}: {_PICKLED}")
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise InputError(f"{what}: has version {version} of the .npy format, not 1.0 or 2.0.")
        reader = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = reader(file)
    except _HEADER_ERRORS as error:
        raise _unreadable(what, error) from error
    if dtype.hasobject:
        raise InputError(f"{what}: {_PICKLED}")
    declared = math.prod(shape) * dtype.itemsize
    there = size - file.tell()
    if declared != there or min(shape, default=0) < 0:
        raise InputError(
            f"{what}: declares {declared} bytes of {dtype} in its header, but has {there}."
        )


def _unreadable(what: str, error: BaseException) -> InputError:
    if isinstance(error, InputError):
        return error
    if isinstance(error, EOFError):
        return InputError(f"{what}: is empty or truncated.")
    return InputError(f"{what}: not a readable NumPy file ({_files.reason(error)!s:.200}).")
