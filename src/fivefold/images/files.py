"""Image files: one item each. Pillow reads them; 16-bit colour, which it would cut to 8 bit, goes another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fivefold.errors import DataError

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
_PNG_BIT_DEPTH = 24  # offset of the byte in the header


def list_images(folder: Path) -> list[Path]:
    """All image files below `folder`, in sorted order; hidden ones are left out."""
    found = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_ENDINGS and path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


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
