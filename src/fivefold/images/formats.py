"""One image file: its pixels as its format says that they are meant, upright, in grey or RGB; and back to a file.

Pillow reads most formats; TIFFs and PNGs of 16 bits, of which it would lose some, go by tifffile and imagecodecs.
"""

from __future__ import annotations

import io
import logging
import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from fivefold.arrays import Bools
from fivefold.errors import DataError, UsageError
from fivefold.inputs import check_file

if TYPE_CHECKING:
    from PIL import Image
    from tifffile import TiffFile, TiffPage

Pages = Literal["items", "channels", "first"]

TIFF_ENDINGS = (".tif", ".tiff")
IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", *TIFF_ENDINGS, ".webp", ".bmp", ".gif", ".pgm", ".ppm"})
_PNG_BIT_DEPTH = 24  # offset of the byte in the header
_MOST_BYTES = 1 << 29  # of a file's pixels
_DENSEST = 1 << 11  # bytes of pixels per byte of a file, beyond which it is no picture but a bomb
_SMALL = 1 << 26  # bytes of pixels that any file may have
_ORIENTATION = 0x0112
_WHITE_IS_ZERO = 0  # TIFF's photometric interpretation
_ASSOCIATED, _UNASSOCIATED = 1, 2  # TIFF's extra samples: alpha by which colours were multiplied, or not
_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}
_TEXT_TAGS = (270, 271, 272, 305, 306, 315, 33432)  # description, make, model, software, time, artist, copyright
_GEO_TAGS = {
    33550: "d",
    33922: "d",
    34264: "d",
    34735: "H",
    34736: "d",
    34737: "s",
}  # where a GeoTIFF's pixels lie, and their types
_NODATA = 42113  # of GeoTIFFs: what stands for missing, as text
_PNG_HEAD = 33  # bytes of the signature and the first chunk
_INCH = 0.0254  # metres


@dataclass(frozen=True)
class Picture:
    """Pixels of one file.

    Attributes
    ----------
    pixels : `(pages, h, w, c)` of any numeric type, c from 1 to 4
    alpha : whether the last channel says how opaque a pixel is
    notes : what reading them took
    missing : of elements that the file itself says are missing, bool like `pixels`; or None
    """

    pixels: np.ndarray
    alpha: bool = False
    notes: tuple[str, ...] = ()
    missing: Bools | None = None


@dataclass(frozen=True)
class _Stored:
    """Pixels as they lie in a file: an array whose `axes` have a letter each (Y, X: sides, S: samples of a pixel)."""

    array: np.ndarray
    axes: str
    alpha: bool = False
    notes: tuple[str, ...] = ()
    orientation: int = 1
    nodata: float | None = None


@dataclass(frozen=True)
class Reading:
    """How image files are to be read.

    Attributes
    ----------
    axes : a letter per axis of what a file holds, in place of the file's own; see `arrange`
    pages : what several pictures in one file are; see `arrange`
    resize : `(height, width)` to bring them to
    skip_unreadable : whether to leave out what can't be read
    """

    axes: str | None = None
    pages: Pages | None = None
    resize: tuple[int, int] | None = None
    skip_unreadable: bool = False

    def __post_init__(self) -> None:
        if self.pages is not None and self.pages not in get_args(Pages):
            raise UsageError(f"`pages` must be {', '.join(get_args(Pages))}; got {self.pages!r}")


def read_picture(path: Path, reading: Reading | None = None) -> Picture:
    """The pixels of an image file.

    Raises `DataError` if it can't be read, or holds several pictures and it is not said what they are.
    """
    reading = reading or Reading()
    pages = reading.pages
    check_file(path)
    try:
        stored = list(_decode_tiff(path, pages) if path.suffix.lower() in TIFF_ENDINGS else _decode(path, pages))
    except DataError:
        raise
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        raise DataError(f"{path}: can't be read as an image ({_first_line(error)})") from None
    if not stored:
        raise DataError(f"{path}: holds no picture")
    first = stored[0]
    if len(stored) > 1 and pages in (None, "channels"):
        sizes = ", ".join(_by([one.array.shape[one.axes.index(side)] for side in "YX"]) for one in stored[:9])
        raise DataError(f"{path}: holds pictures of several sizes ({sizes}); `pages` first takes the first")
    parts, missing = [], []
    for one in stored if pages == "items" else stored[:1]:
        part = arrange(one.array, reading.axes or one.axes, pages, str(path), named=reading.axes is not None)
        part = _turned(part, one.orientation)
        holes = np.zeros(part.shape, bool) if one.nodata is None else part == one.nodata
        if reading.resize is not None and part.shape[1:3] != reading.resize:
            part, holes = resized(part, reading.resize, one.alpha), _resized_holes(holes, reading.resize)
        parts.append(part)
        missing.append(holes)
    if len({part.shape[1:] for part in parts}) > 1:
        sizes = ", ".join(_by(part.shape[1:]) for part in parts[:9])
        raise DataError(f"{path}: its pictures must have one shape, got {sizes}; bring them to one with `resize` HxW")
    turned = ("turned as its orientation tag says",) if first.orientation in _TURNS else ()
    alpha, holes = first.alpha and parts[0].shape[3] in (2, 4), np.concatenate(missing)
    said = (f"{first.nodata:g} is missing",) if holes.any() else ()
    return Picture(np.concatenate(parts), alpha, first.notes + turned + said, holes if holes.any() else None)


def arrange(values: np.ndarray, axes: str, pages: Pages | None, source: str, named: bool = True) -> np.ndarray:
    """An array whose axes have a letter each as images `(n, h, w, c)`.

    Parameters
    ----------
    axes : Y and X are height and width, C or S the channels; along any other letter lie `pages`
    pages : `items`: each is an item (default if the axes are `named` by the user); `channels`: they are channels;
        `first`: only the first counts

    Raises `DataError` if the letters don't fit, or if there are several pages and it is not said what they are.
    """
    if values.size == 0:
        raise DataError(f"{source}: there is nothing in it (shape {values.shape})")
    letters = axes.upper()
    if len(letters) != values.ndim or len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters):
        raise UsageError(
            f"`axes` must have a letter for each of {values.ndim} axes, Y and X among them, as {'NCZYX'[-values.ndim :]}; "
            f"{source} has shape {_by(values.shape)}, got {axes}"
        )
    channel = next((letter for letter in "SC" if letter in letters), "")
    others = [letter for letter in letters if letter not in ("Y", "X", channel)]
    ordered = values.transpose([letters.index(letter) for letter in (*others, "Y", "X", *channel)])
    stack = ordered.reshape(-1, *ordered.shape[len(others) :])
    stack = stack if channel else stack[..., None]
    several = [f"{n} along {axis}" for axis, n in zip(others, ordered.shape, strict=False) if axis in "ZTC" and n > 1]
    if pages is None and len(stack) > 1 and not named:
        along = f" ({', '.join(several)})" if several else ""
        raise DataError(
            f"{source}: holds {len(stack)} pictures of {_by(stack.shape[1:3])}{along}; say what they are with `pages`: items, "
            "channels (4 at most), or first for that one alone"
        )
    if pages == "channels":
        stack = np.moveaxis(stack, 0, -1).reshape(1, *stack.shape[1:3], -1)
    elif pages == "first":
        stack = stack[:1]
    if not 1 <= stack.shape[3] <= 4:
        remedy = "`pages` items" if pages == "channels" else f"`axes` {letters.replace(channel, 'N')}"
        raise DataError(
            f"{source}: must have 1 to 4 channels, got {stack.shape[3]}; each is a picture of its own by {remedy}"
        )
    return stack


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """`(n, h, w, c)` upright, as EXIF's orientation says."""
    quarters, mirrored = _TURNS.get(orientation, (0, False))
    turned = np.rot90(pixels, quarters, axes=(1, 2))
    return turned[:, :, ::-1] if mirrored and quarters % 2 == 0 else turned[:, ::-1] if mirrored else turned


def _check_size(elements: int, itemsize: int, path: Path) -> None:
    """Raise `DataError` before memory is taken on a header's word."""
    size = elements * itemsize
    if size > _MOST_BYTES or size > max(_SMALL, _DENSEST * check_file(path)):
        raise DataError(f"{path}: has {size:,} bytes of pixels by its header, too many for a file of its size")


def _decode(path: Path, pages: Pages | None) -> Iterator[_Stored]:
    """By Pillow."""
    from PIL import Image

    with Image.open(path) as image:
        _check_size(math.prod(image.size), 4, path)
        orientation = int(image.getexif().get(_ORIENTATION, 1))
        frames = 1 if image.format == "MPO" or pages == "first" else int(getattr(image, "n_frames", 1))
        if image.format == "PNG" and frames == 1 and _is_deep_png(path):
            yield replace(_decode_deep_png(path, image.info.get("transparency")), orientation=orientation)
            return
        _check_size(math.prod(image.size) * frames, 4, path)
        parts = []
        for frame in range(frames):
            if frame:
                image.seek(frame)
            parts.append(_plain(image))
        alpha = any(part.alpha for part in parts)
        arrays = [part.array if part.alpha == alpha else _with_opaque(part.array) for part in parts]
        yield replace(parts[0], array=np.stack(arrays), axes="TYXS", alpha=alpha, orientation=orientation)


def _with_opaque(array: np.ndarray) -> np.ndarray:
    return np.concatenate((array, np.full_like(array[..., :1], 255)), axis=2)


def _plain(image: Image.Image) -> _Stored:
    """A Pillow image as grey or RGB, with or without alpha; numbers wider than 8 bits as they are."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _Stored(np.asarray(image)[..., None], "YXS")
    notes: tuple[str, ...] = ()
    if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        image, notes = _to_rgb(image), (f"{image.mode}, converted to RGB",)
    elif image.mode in ("P", "PA"):
        notes = ("colours of its palette",)
    colourless = image.mode in ("1", "L", "LA")
    alpha = image.has_transparency_data
    pixels = np.asarray(image.convert(("LA" if alpha else "L") if colourless else ("RGBA" if alpha else "RGB")))
    return _Stored(pixels if pixels.ndim == 3 else pixels[..., None], "YXS", alpha, notes)


def _to_rgb(image: Image.Image) -> Image.Image:
    """By the file's own profile where it has one, else as Pillow does."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if image.mode == "LAB":
        source: Any = ImageCms.createProfile("LAB")
    elif image.mode == "CMYK" and profile:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    else:
        return image.convert("RGB")
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return converted


def _is_deep_png(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_PNG_BIT_DEPTH + 1)[_PNG_BIT_DEPTH] == 16


def _decode_deep_png(path: Path, transparent: Any) -> _Stored:
    import imagecodecs

    pixels: np.ndarray = imagecodecs.png_decode(path.read_bytes())
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    if transparent is not None and pixels.shape[2] in (1, 3):
        clear = (pixels == np.asarray(transparent)).all(axis=2, keepdims=True)
        pixels = np.concatenate((pixels, np.where(clear, 0, 65535).astype(pixels.dtype)), axis=2)
    return _Stored(pixels, "YXS", pixels.shape[2] in (2, 4))


def _decode_tiff(path: Path, pages: Pages | None) -> Iterator[_Stored]:
    """All series of a TIFF, thumbnails and levels of pyramids left out."""
    import tifffile

    _silence(tifffile.logger())
    with tifffile.TiffFile(path, _multifile=False) as tiff:
        colours = tifffile.PHOTOMETRIC(tiff.pages.first.photometric).name
        by_pillow = colours in ("SEPARATED", "YCBCR", "CIELAB", "ICCLAB") and tiff.pages.first.dtype == np.uint8
        if by_pillow:
            yield from _decode(path, pages)
            return
        if colours not in ("MINISWHITE", "MINISBLACK", "RGB", "PALETTE", "MASK"):
            bits = tiff.pages.first.bitspersample
            raise DataError(f"{path}: colours of the kind {colours} with {bits} bits can't be read; convert it to RGB")
        yield from _decode_series(tiff, path)


@cache
def _silence(logger: logging.Logger) -> None:
    """What `tifffile` logs of damaged files goes where the application sends it, not to the terminal."""
    logger.addHandler(logging.NullHandler())


def _decode_series(tiff: TiffFile, path: Path) -> Iterator[_Stored]:
    reduced = any(len(series.levels) > 1 or series.keyframe.is_reduced for series in tiff.series)
    notes = ("smaller copies left out",) if reduced else ()
    for number, series in enumerate(tiff.series):
        page: Any = series.keyframe
        if number and page.is_reduced:
            continue
        _check_size(series.size, series.dtype.itemsize, path)
        array: np.ndarray = series.asarray()
        if array.shape != tuple(series.shape) or array.size == 0:
            raise ValueError("pixels are missing")
        letters = iter("ABDEFGHIJKLM")  # axes that the file does not name, or twice, have names of their own
        axes = "".join(a if a in "YXSCZT" and series.axes.count(a) == 1 else next(letters) for a in series.axes)
        tag = page.tags.get(_ORIENTATION)
        orientation, nodata = int(tag.value) if tag else 1, _nodata(page, array.dtype)
        yield _as_stated(_Stored(array, axes, notes=notes, orientation=orientation, nodata=nodata), page)


def _nodata(page: TiffPage, dtype: np.dtype) -> float | None:
    """The number that stands for missing, as a value of `dtype`; None where there is none, or NaN is."""
    tag = page.tags.get(_NODATA)
    try:
        value = float(str(tag.value).strip("\0 ")) if tag else math.nan
    except ValueError:
        return None
    if math.isnan(value) or page.photometric == _WHITE_IS_ZERO or page.colormap is not None:
        return None
    with np.errstate(over="ignore"):
        return float(dtype.type(value)) if dtype.kind == "f" else value


def _as_stated(stored: _Stored, page: TiffPage) -> _Stored:
    """Samples of a TIFF as its tags say that they are meant."""
    array, axes, notes = stored.array, stored.axes, list(stored.notes)
    colours = page.colormap
    if colours is not None:
        array, axes = np.moveaxis(np.asarray(colours)[:, array] >> 8, 0, -1).astype(np.uint8), axes + "S"
        notes.append("colours of its palette")
    elif array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if page.photometric == _WHITE_IS_ZERO and array.dtype.kind == "u":
        bits = 8 if page.bitspersample == 1 else int(page.bitspersample)
        array = ((1 << bits) - 1 - array.astype(np.int64)).astype(array.dtype) if bits % 8 else ~array
        notes.append("0 is white: inverted")
    alpha = "S" in axes and tuple(page.extrasamples) in ((_ASSOCIATED,), (_UNASSOCIATED,))
    if alpha and page.extrasamples[0] == _ASSOCIATED:
        array = _unmultiplied(array, axes.index("S"))
        notes.append("multiplied by its alpha: divided by it")
    return replace(stored, array=array, axes=axes, alpha=alpha, notes=tuple(notes))


def _unmultiplied(array: np.ndarray, axis: int) -> np.ndarray:
    """Samples that were multiplied by the last one, their alpha, as they were before."""
    samples = np.moveaxis(array, axis, -1).astype(np.float64)
    opaque = opaque_value(array.dtype)
    colours, alpha = samples[..., :-1], samples[..., -1:]
    colours = np.divide(colours * opaque, alpha, out=np.zeros_like(colours), where=alpha > 0)
    if array.dtype.kind != "f":
        colours = np.rint(np.minimum(colours, opaque))
    return np.moveaxis(np.concatenate((colours, alpha), axis=-1).astype(array.dtype), -1, axis)


def resized(pixels: np.ndarray, size: tuple[int, int], alpha: bool = False) -> np.ndarray:
    """`(n, h, w, c)` at another `(height, width)`; alpha that is all or nothing stays so."""
    from PIL import Image

    def scaled(channel: np.ndarray) -> np.ndarray:
        image = Image.fromarray(channel.astype(np.float32))
        return np.asarray(image.resize((size[1], size[0]), Image.Resampling.LANCZOS))

    channels = [np.stack([scaled(channel) for channel in np.moveaxis(image, -1, 0)], axis=-1) for image in pixels]
    smooth: np.ndarray = np.stack(channels)
    if pixels.dtype.kind != "f":
        limits = np.iinfo(pixels.dtype)
        smooth = np.rint(np.clip(smooth, limits.min, limits.max))
    smooth = smooth.astype(pixels.dtype)
    opaque = opaque_value(pixels.dtype)
    if alpha and ((pixels[..., -1] == 0) | (pixels[..., -1] == opaque)).all():
        clear = np.stack([resized_mask(image[..., -1] == 0, size) for image in pixels])
        smooth[..., -1] = np.where(clear, 0, opaque)
    return smooth


def _resized_holes(holes: Bools, size: tuple[int, int]) -> Bools:
    """`(n, h, w, c)` at another size."""
    images = [[resized_mask(channel, size) for channel in np.moveaxis(image, -1, 0)] for image in holes]
    return np.moveaxis(np.array(images, bool), 1, -1)


def resized_mask(mask: Bools, size: tuple[int, int]) -> Bools:
    """`(h, w)` at another size, true wherever it touches what was true."""
    from PIL import Image

    shares = Image.fromarray(mask.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BOX)
    touched: Bools = np.asarray(shares) > 0
    return touched


def opaque_value(dtype: np.dtype) -> float:
    """That of alpha where nothing shines through."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def _by(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def encode_png(pixels: np.ndarray, like: Path | None = None) -> bytes:
    """A PNG of `(h, w, c)`, c from 1 to 4, uint8 or uint16, with the profile, EXIF and resolution of the file `like`."""
    import imagecodecs

    encoded = bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels if pixels.shape[2] > 1 else pixels[..., 0])))
    chunks = b"" if like is None else _ancillary_chunks(like, pixels.shape[2] >= 3)
    return encoded[:_PNG_HEAD] + chunks + encoded[_PNG_HEAD:]


def _ancillary_chunks(path: Path, colour: bool) -> bytes:
    """What a PNG of one pixel has between its header and its pixels, if Pillow gives it what it finds in another file."""
    from PIL import Image, PngImagePlugin

    found = io.BytesIO()
    try:
        with Image.open(path) as image:
            exif, info, text = image.getexif(), image.info, PngImagePlugin.PngInfo()
            for name, value in getattr(image, "text", {}).items():
                text.add_text(name, str(value))
        exif.pop(_ORIENTATION, None)
        profile = info.get("icc_profile") or b""
        fits = profile[16:20] == (b"RGB " if colour else b"GRAY")
        how = {"icc_profile": profile if fits else None, "exif": exif if len(exif) else None, "dpi": info.get("dpi")}
        Image.new("L", (1, 1)).save(found, "PNG", pnginfo=text, **{k: v for k, v in how.items() if v is not None})
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, struct.error):  # damaged: the pixels are what counts
        return b""
    return found.getvalue()[_PNG_HEAD : found.getvalue().index(b"IDAT") - 4]


def write_tiff(
    target: Path | IO[bytes],
    images: Iterable[np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
    alpha: bool = True,
    like: Path | None = None,
) -> None:
    """Images `(h, w, c)`, of `shape` `(n, h, w, c)` in all, as pages of a TIFF with the tags of the TIFF `like`."""
    import tifffile

    n, h, w, c = shape
    extra = c in (2, 4)
    how: dict[str, Any] = {} if like is None else _tags(like, (h, w), c >= 3)
    with tifffile.TiffWriter(target) as tiff:
        tiff.write(
            (np.ascontiguousarray(image if c > 1 else image[..., 0]) for image in images),
            shape=(n, h, w, c) if c > 1 else (n, h, w),
            dtype=dtype,
            photometric="rgb" if c >= 3 else "minisblack",
            planarconfig="contig" if c > 1 else None,
            extrasamples=["unassalpha" if alpha else "unspecified"] if extra else None,
            compression="zlib",
            metadata=None,
            **how,
        )


def _tags(path: Path, size: tuple[int, int], colour: bool) -> dict[str, Any]:
    """Resolution, profile, texts and place on earth of a TIFF, as arguments of `tifffile`, as far as they fit to pixels of that
    `size`; nothing of other files."""
    import tifffile

    if path.suffix.lower() not in TIFF_ENDINGS:
        return {}
    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages.first
        codes = (*_TEXT_TAGS, 282, 283, 296, 34675, *_GEO_TAGS)
        values = {code: page.tags[code].value for code in codes if code in page.tags}
        as_it_was = (page.imagelength, page.imagewidth) == size and _ORIENTATION not in page.tags
    about = str(values.get(270))
    if about.startswith(("ImageJ=", '{"shape"')) or "<OME " in about:  # how all pages are arranged
        del values[270]
    tags = [(code, "s", 0, values[code], True) for code in _TEXT_TAGS if isinstance(values.get(code), str)]
    if as_it_was:
        tags += [_geo_tag(code, values[code]) for code in _GEO_TAGS if code in values]
    how: dict[str, Any] = {"extratags": [tag for tag in tags if tag[0] not in (270, 305)]}
    how |= {"description": values[270]} if isinstance(values.get(270), str) else {}
    how |= {"software": values.get(305) or False}
    if 282 in values and 283 in values:
        how |= {"resolution": (values[282], values[283]), "resolutionunit": int(values.get(296, 2))}
    profile = values.get(34675, b"")
    return how | ({"iccprofile": profile} if profile[16:20] == (b"RGB " if colour else b"GRAY") else {})


def _geo_tag(code: int, value: Any) -> tuple[int, str, int, Any, bool]:
    kind = _GEO_TAGS[code]
    return code, kind, 0 if kind == "s" else len(value), value, True
