"""Image files and folders of them. Pillow reads them; 16-bit colour, which it would cut to 8 bit, goes another way."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fivefold.arrays import read_array_file
from fivefold.errors import DataError
from fivefold.images.schema import ImageSchema

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
IMAGE_OR = f"an image ({' '.join(sorted(IMAGE_ENDINGS))}), "  # what else than an array's file there may be
_ALPHA_ENDINGS = (".png", ".webp")
_PNG_BIT_DEPTH = 24  # offset of the byte in the header


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
    has_alpha = [
        p.suffix.lower() in _ALPHA_ENDINGS and i.shape[2] in (2, 4) for p, i in zip(paths, images, strict=True)
    ]
    if schema is not None:
        keep_alpha = schema.channels in (2, 4)
    else:
        keep_alpha = any(_is_soft(image[..., -1]) for image, alpha in zip(images, has_alpha, strict=True) if alpha)
    colours = [image[..., :-1] if alpha else image for image, alpha in zip(images, has_alpha, strict=True)]
    alphas = [image[..., -1:] if alpha else None for image, alpha in zip(images, has_alpha, strict=True)]
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
        if image.shape != first.shape:
            ours, theirs = ("×".join(map(str, i.shape)) for i in (first, image))
            hint = "; bring them to one size with `resize` HxW" if image.shape[:2] != first.shape[:2] else ""
            raise DataError(
                f"{path}: all images must have one shape: {paths[0].name} is {ours}, this is {theirs}{hint}"
            )
        if image.dtype != first.dtype:
            raise DataError(
                f"{path}: all images must have one depth: {paths[0].name} is {first.dtype}, this is {image.dtype}"
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
            masks = [resize_mask(hidden[..., 0], resize)[..., None] for hidden in masks]
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
        pixels, page = tiff.asarray(), tiff.pages.first
        palette, inverted = page.colormap, page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    if palette is not None:
        return (palette.T[pixels] >> 8).astype(np.uint8)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if inverted and pixels.dtype.kind == "u":
        pixels = np.iinfo(pixels.dtype).max - pixels
    return pixels


def _is_deep_png(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_PNG_BIT_DEPTH + 1)[_PNG_BIT_DEPTH] == 16


def _plain_mode(image) -> str:  # noqa: ANN001  (Pillow is imported late)
    """The mode that holds the image's pixels as plain grey or RGB, with or without alpha."""
    colourless = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        return "LA" if colourless else "RGBA"
    return "L" if colourless else "RGB"


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`(h, w)` bool at another size, true wherever it touches what was true."""
    from PIL import Image

    height, width = size
    return np.asarray(Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BOX)) > 0


def _resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    height, width = size
    channels = [
        np.asarray(Image.fromarray(pixels[..., c].astype(np.float32)).resize((width, height), Image.Resampling.LANCZOS))
        for c in range(pixels.shape[2])
    ]
    resized = np.stack(channels, axis=-1)
    if pixels.dtype.kind == "f":
        return resized.astype(pixels.dtype)
    limits = np.iinfo(pixels.dtype)
    resized = np.rint(np.clip(resized, limits.min, limits.max)).astype(pixels.dtype)
    if pixels.shape[2] in (2, 4):
        clear, opaque = pixels[..., -1] == 0, pixels[..., -1] == limits.max
        if (clear | opaque).all():  # alpha that is all or nothing stays so
            resized[..., -1] = np.where(resize_mask(clear, size), 0, limits.max)
    return resized


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
