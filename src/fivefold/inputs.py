"""Files from users, opened so that hostile ones cost neither time nor memory: no pipes, no devices, no decompression bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any, cast

from fivefold.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_SMALL, _RATIO = 1 << 26, 200  # a bomb expands to more than so many bytes, and so many times its size
_GZIP, _BZIP2, _XZ, _ZSTD, _ZIP = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
_DAMAGED = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zstd.ZstdError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)


def check_file(path: Path) -> int:
    """The size in bytes of an ordinary file; raises `DataError` for what is not one, or can't be reached."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: can't be opened ({error})") from None
    if not stat.S_ISREG(found.st_mode):
        kind = "folder" if stat.S_ISDIR(found.st_mode) else "pipe or device"
        raise DataError(f"{path}: must be a file, got a {kind}")
    return found.st_size


def open_input(path: Path) -> io.BufferedReader:
    """An ordinary file, decompressed if it is gzip, bzip2, xz, zstd, or a zip archive of one file.

    Reading raises `DataError` if it is damaged, or expands to more than 64 MiB and 200 times its size.
    """
    most = max(_SMALL, _RATIO * check_file(path))
    try:
        return io.BufferedReader(_Bounded(_decompressed(path), path, most), 1 << 16)
    except _DAMAGED as error:
        raise DataError(f"{path}: can't be opened ({error})") from None


def check_expansion(path: Path, size: int) -> None:
    """Raise `DataError` if a compressed file that is to expand to `size` bytes is a decompression bomb."""
    if size > max(_SMALL, _RATIO * check_file(path)):
        raise DataError(
            f"{path}: expands to more than {_RATIO} times its size; if that is meant, decompress it before reading it"
        )


class _Bounded(io.RawIOBase):
    """Passes on what `file` gives, as long as it is not more than `most` bytes."""

    def __init__(self, file: io.BufferedIOBase, path: Path, most: int) -> None:
        self._file, self._path, self._most, self._read = file, path, most, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._file.read(len(buffer))
        except _DAMAGED as error:
            raise DataError(f"{self._path}: can't be decompressed ({error})") from None
        self._read += len(content)
        if self._read > self._most:
            check_expansion(self._path, self._read)
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def _decompressed(path: Path) -> io.BufferedIOBase:
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(_GZIP):
        return gzip.open(path)
    if start.startswith(_BZIP2):
        return bz2.open(path)
    if start.startswith(_XZ):
        return lzma.open(path)
    if start.startswith(_ZSTD):
        return zstd.open(path)
    if start.startswith(_ZIP):
        with zipfile.ZipFile(path) as archive:  # stays open for its member
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            if len(names) != 1:
                raise DataError(
                    f"{path}: a zip archive must hold one file, got {len(names)} ({', '.join(names[:3])}, …)"
                )
            return cast(io.BufferedIOBase, archive.open(names[0]))
    return path.open("rb")
