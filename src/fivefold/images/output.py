"""Items to where the user wants them: a folder of PNGs, one PNG sheet, .npy or .npz."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np

from fivefold.atomic import atomic_file, atomic_folder, check_free
from fivefold.errors import DataError, UsageError
from fivefold.images.files import encode_png
from fivefold.images.schema import ImageSchema
from fivefold.items import Items

_GAP = 2  # pixels between the images of a sheet


@dataclass(frozen=True)
class Output:
    """A place for images, checked before any work is done."""

    path: Path

    @classmethod
    def at(cls, path: str | Path, force: bool = False, flag: str = "output") -> Output:
        """Raises `UsageError`, which names `flag`, if `path` exists (without `force`) or can't be written by its ending."""
        path = Path(path)
        if path.suffix.lower() not in ("", ".npy", ".npz", ".png"):
            raise UsageError(f"`{flag}` must be a folder, .npy, .npz or .png; got {path}")
        check_free(path, force)
        if path.exists() and path.is_dir() != (path.suffix == ""):
            raise UsageError(f"{path} is a {'folder' if path.is_dir() else 'file'}; give another `{flag}`")
        return cls(path)

    def put(self, items: Items, values: np.ndarray, replace: bool) -> None:
        """Results like `items`, under their names; if they don't `replace` values, in a range of their own from 0 on."""
        schema = cast(ImageSchema, items.schema)
        low, high = (schema.low, schema.high) if replace else (0.0, max(float(values.max()), 1.0))
        self.write(values, low, high, items.names)

    def write_new(self, schema: ImageSchema, values: np.ndarray, labels: Mapping[str, np.ndarray]) -> None:
        """New images, numbered."""
        self.write(values, schema.low, schema.high)

    def write(self, values: np.ndarray, low: float, high: float, names: Sequence[str] | None = None) -> None:
        """Write `(n, h, w, c)` values of the range `[low, high]`.

        `.npy` and `.npz` (array `images`) hold them as they are; a PNG holds uint8 and uint16 as they are, other types
        scaled to 8 bits. A folder gets one PNG per item under its name, or its number.

        Raises `DataError` if a name leads out of the folder.
        """
        self.write_parts([values], values.shape, values.dtype, low, high, names)

    def write_parts(
        self,
        parts: Iterable[np.ndarray],
        shape: tuple[int, ...],
        dtype: np.dtype,
        low: float,
        high: float,
        names: Sequence[str] | None = None,
    ) -> None:
        """`write` for values that come in parts and have `shape` and `dtype` in all.

        They go one after the other; only a sheet needs them all.
        """
        ending = self.path.suffix.lower()
        if ending == "":
            with atomic_folder(self.path, merge=True) as folder:
                images = (image for part in parts for image in part)
                for name, image in zip(_file_names(names, shape[0]), images, strict=True):
                    target = folder / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(encode_png(_png_pixels(image, low, high)))
            return
        with atomic_file(self.path) as temporary, temporary.open("wb") as file:
            if ending == ".npy":
                _write_npy(file, parts, shape, dtype)
            elif ending == ".npz":
                with (
                    zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
                    archive.open("images.npy", "w", force_zip64=True) as member,
                ):
                    _write_npy(member, parts, shape, dtype)
            else:
                file.write(encode_png(make_sheet(_png_pixels(np.concatenate(list(parts)), low, high))))


def make_sheet(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """`(n, h, w, c)` images as one, row by row, with gaps of the highest value (opaque white for 8 bits)."""
    n, h, w, c = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    white = np.iinfo(images.dtype).max
    sheet = np.full((rows, h + _GAP, columns, w + _GAP, c), white, images.dtype)
    for index, image in enumerate(images):
        sheet[index // columns, :h, index % columns, :w] = image
    return sheet.reshape(rows * (h + _GAP), columns * (w + _GAP), c)[:-_GAP, :-_GAP]


def _write_npy(file: IO[bytes], parts: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> None:
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
    for part in parts:
        file.write(np.ascontiguousarray(part, dtype).data)


def _png_pixels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if values.dtype in (np.uint8, np.uint16):
        return values
    unit = (values.astype(np.float64) - low) / (high - low)
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)


def _file_names(names: Sequence[str] | None, n: int) -> list[str]:
    """A distinct PNG file name per item: its own with the ending exchanged where that is free, else added.

    Names that collide still, or differ in case only, get a number.
    """
    if names is None:
        digits = len(str(n - 1))
        return [f"{index:0{digits}d}.png" for index in range(n)]
    for name in names:
        path = Path(name)
        if path.anchor or ".." in path.parts or not path.name or "\0" in name:
            raise DataError(f"an item is called {name!r}, which can't be a file in the output folder")
    exchanged = [Path(name).with_suffix(".png").as_posix() for name in names]
    counts: dict[str, int] = {}
    for name in exchanged:
        counts[name.lower()] = counts.get(name.lower(), 0) + 1
    taken = {name for name, count in counts.items() if count == 1}
    distinct, again = [], dict[str, int]()
    for name, new in zip(names, exchanged, strict=True):
        if counts[new.lower()] > 1:
            new = f"{name}.png"
            while new.lower() in taken:
                again[name] = again.get(name, 1) + 1
                new = f"{name}.{again[name]}.png"
            taken.add(new.lower())
        distinct.append(new)
    return distinct
