"""Checks archives and compressed content before they are read."""

import stat
import zipfile
from pathlib import Path, PurePosixPath

from keras_distill._internal import InputError
from keras_distill._internal._files import check_file, reason
from keras_distill._internal._types import PathLike

# Archives may unpack to this many bytes at any ratio, and to more only up to this ratio.
_FREE_BYTES, _MAX_RATIO = 64 << 20, 100


def check_unpacked(path: PathLike, packed: int, unpacked: int) -> None:
    """Rejects compressed content that unpacks to a suspiciously large size.

    Args:
        path: The file, for the error message.
        packed: The compressed size, in bytes.
        unpacked: The declared size after unpacking, in bytes.

    Raises:
        InputError: If `unpacked` is more than 64 MiB and more than 100 times `packed`.
    """
    if unpacked > _FREE_BYTES and unpacked > _MAX_RATIO * packed:
        raise InputError(
            f"{path}: unpacks to {unpacked} bytes from {packed}, more than {_MAX_RATIO} times as"
            " many. Store it with less compression, if this size is intended."
        )


def check_archive(path: PathLike, *, max_bytes: int = 16 << 30) -> None:
    """Rejects a zip archive, such as a `.keras` file, that is unsafe to read.

    Args:
        path: The archive.
        max_bytes: The largest allowed total size of the unpacked members.

    Raises:
        InputError: If the file is not a zip archive or is damaged, contains a link or a name
            outside of the archive's folder, unpacks to more than `max_bytes`, or fails
            `check_unpacked`.
    """
    path = check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _check_member(path, member)
            total = sum(member.file_size for member in archive.infolist())
            if total > max_bytes:
                raise InputError(f"{path}: unpacks to {total} bytes, more than {max_bytes}.")
            check_unpacked(path, path.stat().st_size, total)
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, IndexError) as error:
        raise InputError(f"{path}: not a readable zip archive ({reason(error)}).") from error
    except Exception as error:  # zlib and struct errors of damaged members
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: damaged archive ({reason(error)}).") from error
    if damaged is not None:
        raise InputError(f"{path}: damaged archive, checksum of {damaged!r} is wrong.")


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if not name.parts or name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        raise InputError(f"{path}: unsafe name in the archive: {member.filename!r:.100}.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"{path}: a link in the archive: {member.filename!r:.100}.")
