"""Arrays from files: .npy (memory-mapped), .npz, and the IDX format of MNIST. Never pickled objects."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fivefold.errors import DataError
from fivefold.inputs import check_expansion, check_file, open_input

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_READ_CHUNK = 1 << 24
_IMAGE_NAMES = ("images", "values", "x", "data", "x_train", "arr_0")
_LABEL_NAMES = ("labels", "y", "y_train")


def count_axes(source: Any) -> int | None:
    """Of an array of any library, sparse ones too; None for anything else."""
    if hasattr(source, "ndim"):
        return int(source.ndim)
    return np.asarray(source).ndim if hasattr(source, "__array__") else None


def read_npy(path: Path) -> np.ndarray:
    """The array, memory-mapped. Raises `DataError`."""
    check_file(path)
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # NumPy raises all kinds of errors on damaged headers
        raise _unreadable(path, "array", error) from None


def _unreadable(path: Path, what: str, error: Exception) -> DataError:
    if "Python objects" in str(error) or "Object arrays" in str(error):
        return DataError(f"{path}: can't be read as a NumPy {what}: it holds Python objects; save numbers")
    return DataError(f"{path}: can't be read as a NumPy {what} ({error})")


def read_npz(path: Path, image_names: Sequence[str] = _IMAGE_NAMES) -> tuple[np.ndarray, np.ndarray | None]:
    """The images, and labels if there are any.

    The images are the only array, or the first called one of `image_names`; labels `labels`, `y` or `y_train`. Raises
    `DataError`.
    """
    check_file(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            by_name = {name.lower(): name for name in archive.files}
            label_name = next((by_name[name] for name in _LABEL_NAMES if name in by_name), None)
            others = [name for name in archive.files if name != label_name]
            image_name = next((by_name[name] for name in image_names if name in by_name), None)
            if image_name is None and len(others) == 1:
                image_name = others[0]
            if image_name is None:
                raise DataError(
                    f"{path}: one array must be called {' or '.join(image_names)}; got {', '.join(archive.files)}"
                )
            sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in archive.zip.infolist()}
            check_expansion(path, sizes[image_name] + sizes.get(label_name, 0))
            return archive[image_name], archive[label_name] if label_name else None
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise all kinds of errors on damaged files
        raise _unreadable(path, "archive", error) from None


def read_idx(path: Path) -> np.ndarray:
    """An IDX file, plain or compressed (http://yann.lecun.com/exdb/mnist). Raises `DataError`."""
    try:
        with open_input(path) as file:
            zeros, code, ndim = struct.unpack(">HBB", file.read(4))
            if zeros != 0 or code not in _IDX_TYPES or not 1 <= ndim <= 4:
                raise DataError(f"{path}: isn't an IDX file")
            shape = struct.unpack(f">{ndim}I", file.read(4 * ndim))
            dtype = np.dtype(_IDX_TYPES[code])
            expected = math.prod(shape) * dtype.itemsize
            content = bytearray()  # read piece by piece: the header may promise anything
            while chunk := file.read(min(_READ_CHUNK, expected + 1 - len(content))):
                content += chunk
    except (OSError, struct.error) as error:
        raise DataError(f"{path}: can't be read as an IDX file ({error})") from None
    if len(content) != expected:
        found = "more" if len(content) > expected else str(len(content))
        raise DataError(f"{path}: must hold {expected} bytes of values by its header, got {found}")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def write_npy(file: IO[bytes], parts: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> None:
    """An array `shape` from its `parts` along the first axis; raises `OSError` where `np.save` misses that a disk is full."""
    about: dict[str, Any] = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
    for part in parts:
        file.write(np.ascontiguousarray(part, dtype).data)


def read_array_file(path: Path, besides: str = "") -> tuple[np.ndarray, np.ndarray | None]:
    """The array of a `.npy`, `.npz` or IDX file, and labels if there are any.

    Raises `DataError`, which says what else than `besides` the file may be.
    """
    ending = path.suffix.lower()
    if ending == ".npy":
        return read_npy(path), None
    if ending == ".npz":
        return read_npz(path)
    if ending in (".gz", ".idx") or "-ubyte" in path.name:
        return read_idx(path), None
    raise DataError(f"{path}: must be {besides}.npy, .npz or IDX (.idx, -ubyte, .gz) file")
