"""Checks the HDF5 weights in a `.keras` file before Keras reads them."""

import io
import os
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import h5py

from keras_distill._internal import InputError, _files

# A file may declare this many bytes of weights, plus this many times its own size.
FREE_BYTES, MAX_RATIO = 64 << 20, 4


def check_weights(path: Path) -> None:
    """Checks that HDF5 data sets do not declare far more bytes than the file has.

    A data set without stored values may declare any size, and reading it would fill the memory.

    Args:
        path: A `.keras` file that `_archives.check_archive` accepts.

    Raises:
        InputError: If the data sets declare too many bytes, or the weights are damaged.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".h5"):
                continue
            try:
                with _open(path, archive, member) as file, h5py.File(file, "r") as weights:
                    declared = _declared(weights)
            except (OSError, RuntimeError, ValueError, LookupError, TypeError) as error:
                raise InputError(
                    f"{path}: {member.filename} is damaged ({_files.reason(error):.200})."
                ) from error
            if declared > FREE_BYTES + MAX_RATIO * member.file_size:
                raise InputError(
                    f"{path}: {member.filename} declares {declared} bytes of weights, but has"
                    f" {member.file_size}. It is damaged; save the model again."
                )


def _declared(weights: h5py.File) -> int:
    sizes: list[int] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            sizes.append(int(item.nbytes))

    weights.visititems(visit)
    return sum(sizes)


def _open(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> BinaryIO:
    """Opens a member for seeking; an uncompressed member, as Keras writes it, is not copied."""
    if member.compress_type != zipfile.ZIP_STORED:
        return io.BytesIO(archive.read(member))
    return cast("BinaryIO", _Window(path, member))


class _Window(io.RawIOBase):
    """The bytes of an uncompressed member of an archive as a separate file."""

    def __init__(self, path: Path, member: zipfile.ZipInfo) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._file.seek(member.header_offset + 26)
        name, extra = struct.unpack("<HH", self._file.read(4))
        self._start, self._size = member.header_offset + 30 + name + extra, member.file_size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._place)
        count = min(len(buffer), max(0, self._size - self._place))
        content = self._file.read(count)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()
