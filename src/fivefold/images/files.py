"""Image files and folders of them, read and written, and results as `.npy` and `.npz`.

Pillow reads images; 16-bit colour, which it would cut to 8 bit, goes another way.
"""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from fivefold.arrays import Bools, read_array_file
from fivefold.atomic import atomic_file, atomic_folder, check_free
from fivefold.errors import DataError, UsageError
from fivefold.images.schema import ImageSchema
from fivefold.items import Items

if TYPE_CHECKING:
    from PIL import Image

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
IMAGE_OR = f"an image ({' '.join(sorted(IMAGE_ENDINGS))}), "  # what else than an array's file there may be
_ALPHA_ENDINGS = (".png", ".webp")
_PNG_BIT_DEPTH = 24  # offset of the byte in the header
_GAP = 2  # pixels between the images of a sheet


@dataclass(frozen=True)
class Pictures:
    """Images as they were read: `values`, and what is known of them besides; see `Items`."""

    values: np.ndarray
    labels: np.ndarray | None = None
    names: tuple[str, ...] | None = None
    hidden: np.ndarray | None = None


def list_images(folder: Path) -> list[Path]:
    """All image files below `folder`, in sorted order; hidden ones are left out."""
    found = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_ENDINGS and path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def read_folder(folder: Path, schema: ImageSchema | None, resize: tuple[int, int] | None) -> Pictures:
    """All images below a folder; those in sub-folders are labelled by them. Raises `DataError`."""
    paths = list_images(folder)
    if not paths:
        raise DataError(f"{folder}: holds no images ({' '.join(sorted(IMAGE_ENDINGS))})")
    pictures = read_images(paths, folder, schema, resize)
    below = [path.relative_to(folder).parent.as_posix() for path in paths]
    return replace(pictures, labels=np.array(below) if set(below) != {"."} else None)


def read_images(
    paths: Sequence[Path], root: Path, schema: ImageSchema | None, resize: tuple[int, int] | None
) -> Pictures:
    """All images as one array, and where their alpha says that nothing is there.

    Alpha is the mask if it is all or nothing, and a channel like the others if any pixel is half transparent. The
    model's schema decides where there is one.
    """
    with ThreadPoolExecutor() as pool:  # decoders release the interpreter's lock
        images = list(pool.map(lambda path: read_image(path, resize), paths))
    alphas = [
        image[..., -1:] if path.suffix.lower() in _ALPHA_ENDINGS and image.shape[2] in (2, 4) else None
        for path, image in zip(paths, images, strict=True)
    ]
    colours = [image if alpha is None else image[..., :-1] for image, alpha in zip(images, alphas, strict=True)]
    if schema is not None:
        keep_alpha = schema.channels in (2, 4)
    else:
        keep_alpha = any(alpha is not None and _is_soft(alpha) for alpha in alphas)
    channels = max(max(colour.shape[2] for colour in colours), 3 if schema and schema.channels >= 3 else 1)
    if channels == 3:
        colours = [np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour for colour in colours]
    _check_alike(colours, paths)
    values = np.stack(colours)
    names = tuple(path.relative_to(root).as_posix() for path in paths)
    lacks_alpha = schema is not None and schema.channels == channels + 1 and values.dtype.kind == "u" and keep_alpha
    if all(alpha is None for alpha in alphas) and not lacks_alpha:
        return Pictures(values, names=names)
    opaque = np.full_like(values[0, ..., :1], np.iinfo(values.dtype).max)
    stacked = np.stack([opaque if alpha is None else alpha for alpha in alphas])
    if keep_alpha:
        return Pictures(np.concatenate([values, stacked], axis=3), names=names)
    return Pictures(values, names=names, hidden=stacked == 0)


def _is_soft(alpha: np.ndarray) -> bool:
    return bool(((alpha != 0) & (alpha != np.iinfo(alpha.dtype).max)).any())


def _check_alike(images: Sequence[np.ndarray], paths: Sequence[Path]) -> None:
    first = images[0]
    for image, path in zip(images, paths, strict=True):
        what, ours, theirs, hint = "depth", str(first.dtype), str(image.dtype), ""
        if image.shape != first.shape:
            what, ours, theirs = "shape", *("×".join(map(str, i.shape)) for i in (first, image))
            hint = "; bring them to one size with `resize` HxW" if image.shape[:2] != first.shape[:2] else ""
        if ours != theirs:
            raise DataError(
                f"{path}: all images must have one {what}: {paths[0].name} is {ours}, this is {theirs}{hint}"
            )


def read_mask(
    mask: str | Path | np.ndarray, resize: tuple[int, int] | None, names: tuple[str, ...] | None
) -> np.ndarray:
    """A mask `(n or 1, h, w, 1)` from image files, or whatever an array or its file holds; raises `DataError`."""
    if isinstance(mask, np.ndarray):
        return mask
    path = Path(mask)
    if not path.exists():
        raise DataError(f"`mask` {path}: no such file or folder")
    if path.is_dir() or path.suffix.lower() in IMAGE_ENDINGS:
        paths = list_images(path) if path.is_dir() else [path]
        if not paths:
            raise DataError(f"`mask` {path}: holds no images")
        if names is not None and len(paths) == len(names) > 1:
            for file, name in zip(paths, names, strict=True):
                if file.relative_to(path).with_suffix("") != Path(name).with_suffix(""):
                    raise DataError(f"`mask` {path}: masks must be named like the items, got {file.name} for {name}")
        images = [read_image(file) for file in paths]
        colours = [image[..., : -1 if image.shape[2] in (2, 4) else None] for image in images]
        masks = [(colour != 0).max(axis=2, keepdims=True) for colour in colours]
        if resize is not None:
            masks = [_resize_mask(hidden[..., 0], resize)[..., None] for hidden in masks]
        _check_alike(masks, paths)
        return np.stack(masks)
    return read_array_file(path, IMAGE_OR)[0]


def read_image(path: Path, resize: tuple[int, int] | None = None) -> np.ndarray:
    """One image as `(h, w, c)`, uint8 or uint16 (float32 from such TIFFs), alpha as the last of 2 or 4 channels.

    `resize` is `(height, width)`. Raises `DataError` if the file can't be read as one image.
    """
    try:
        pixels = _decode(path)
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        raise DataError(f"{path}: can't be read as an image ({_first_line(error)})") from None
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4:
        raise DataError(f"{path}: must be one image of 1 to 4 channels, got shape {pixels.shape}")
    if resize is not None and pixels.shape[:2] != resize:
        pixels = _resize(pixels, resize)
    return pixels


def encode_png(pixels: np.ndarray) -> bytes:
    """A PNG of `(h, w, c)`, c from 1 to 4, uint8 or uint16."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels if pixels.shape[2] > 1 else pixels[..., 0])))


def _decode(path: Path) -> np.ndarray:
    if path.suffix.lower() in (".tif", ".tiff"):
        return _decode_tiff(path)
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        if image.format == "PNG" and _is_deep_png(path):
            import imagecodecs

            return imagecodecs.png_decode(path.read_bytes())
        upright = ImageOps.exif_transpose(image)
        return np.asarray(upright.convert(_plain_mode(upright)))


def _decode_tiff(path: Path) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        pixels: np.ndarray = tiff.asarray()
        page = tiff.pages.first
        palette, inverted = page.colormap, page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    if palette is not None:
        colours: np.ndarray = palette.T[pixels] >> 8
        return colours.astype(np.uint8)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if inverted and pixels.dtype.kind == "u":
        pixels = ~pixels
    return pixels


def _is_deep_png(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_PNG_BIT_DEPTH + 1)[_PNG_BIT_DEPTH] == 16


def _plain_mode(image: Image.Image) -> str:
    """The mode that holds the image's pixels as plain grey or RGB, with or without alpha."""
    colourless = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        return "LA" if colourless else "RGBA"
    return "L" if colourless else "RGB"


def _resize_mask(mask: Bools, size: tuple[int, int]) -> Bools:
    """`(h, w)` at another size, true wherever it touches what was true."""
    from PIL import Image

    height, width = size
    shares = Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
    touched: Bools = np.asarray(shares) > 0
    return touched


def _resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    height, width = size
    channels = (Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(pixels, -1, 0))
    smooth = (channel.resize((width, height), Image.Resampling.LANCZOS) for channel in channels)
    resized: np.ndarray = np.stack([np.asarray(channel) for channel in smooth], axis=-1)
    if pixels.dtype.kind == "f":
        return resized.astype(pixels.dtype)
    limits = np.iinfo(pixels.dtype)
    resized = np.rint(np.clip(resized, limits.min, limits.max)).astype(pixels.dtype)
    if pixels.shape[2] in (2, 4):
        clear, opaque = pixels[..., -1] == 0, pixels[..., -1] == limits.max
        if (clear | opaque).all():  # alpha that is all or nothing stays so
            resized[..., -1] = np.where(_resize_mask(clear, size), 0, limits.max)
    return resized


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


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
        self.write([values], values.shape, values.dtype, low, high, items.names)

    def write_new(self, schema: ImageSchema, values: np.ndarray, labels: Mapping[str, np.ndarray]) -> None:
        """New images, numbered."""
        self.write([values], values.shape, values.dtype, schema.low, schema.high)

    def write(
        self,
        parts: Iterable[np.ndarray],
        shape: tuple[int, ...],
        dtype: np.dtype,
        low: float,
        high: float,
        names: Sequence[str] | None = None,
    ) -> None:
        """Write values of the range `[low, high]` that come in parts, and have `shape` `(n, h, w, c)` and `dtype` in all.

        `.npy` and `.npz` (array `images`) hold them as they are; a PNG holds uint8 and uint16 as they are, other types
        scaled to 8 bits. A folder gets one PNG per item under its name, or its number. Only a sheet needs all parts at once.

        Raises `DataError` if a name leads out of the folder.
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
    about: dict[str, Any] = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
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
    counts = Counter(name.lower() for name in exchanged)
    taken = {name for name, count in counts.items() if count == 1}
    distinct, repeats = [], Counter[str]()
    for name, new in zip(names, exchanged, strict=True):
        if counts[new.lower()] > 1:
            new = f"{name}.png"
            while new.lower() in taken:
                repeats[name] += 1
                new = f"{name}.{repeats[name] + 1}.png"
            taken.add(new.lower())
        distinct.append(new)
    return distinct
