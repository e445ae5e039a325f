"""General and image codecs: what lossless compression takes, in bytes."""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np

Codec = Callable[[np.ndarray], bytes]
_LEAST_DICTIONARY, _MOST_DICTIONARY = 1 << 12, 1 << 26  # xz's least, and its highest preset's
_WEBP_SIDE = 16382  # the format's is 16383, which imagecodecs refuses
_PNG_FILTERS = (imagecodecs.PNG.FILTER.NONE, imagecodecs.PNG.FILTER.ALL)


def compressed_sizes(values: np.ndarray) -> dict[str, dict[str, int]]:
    """Bytes that items `(n, h, w, c)` take, by codec.

    Codecs that can't take the items' type or size are left out: images other than uint8 and uint16, and for WebP
    other than uint8 of 1, 3 or 4 channels.

    Returns
    -------
    Per codec `one_stream` (image codecs: all items on one sheet) and `per_image` (the sum over items)
    """
    values = np.ascontiguousarray(values)
    sizes = {name: _sizes(codec, values, values) for name, codec in CODECS.items()}
    if values.dtype in (np.uint8, np.uint16):
        sheet = tile(values)
        small = values.dtype == np.uint8 and values.shape[3] != 2 and max(sheet.shape) <= _WEBP_SIDE
        taking = {name: codec for name, codec in IMAGE_CODECS.items() if small or name != "WebP"}
        sizes |= {name: _sizes(codec, sheet, values) for name, codec in taking.items()}
    return sizes


def tile(images: np.ndarray) -> np.ndarray:
    """One sheet `(rows·h, columns·w, c)`, as near to a square as can be; places left over are 0."""
    n, h, w, c = images.shape
    columns = min(n, max(1, round((n * h / w) ** 0.5)))
    rows = -(-n // columns)
    sheet = np.zeros((rows * columns, h, w, c), images.dtype)
    sheet[:n] = images
    return sheet.reshape(rows, columns, h, w, c).transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, c)


def _sizes(codec: Codec, whole: np.ndarray, items: np.ndarray) -> dict[str, int]:
    with ThreadPoolExecutor() as pool:  # the codecs release the interpreter
        per_image = sum(map(len, pool.map(codec, items)))
    return {"one_stream": len(codec(whole)), "per_image": per_image}


def _bz2(values: np.ndarray) -> bytes:
    return bz2.compress(values.tobytes(), 9)


def _xz(values: np.ndarray) -> bytes:
    """A dictionary of the data's size, beyond which a larger one gains nothing but takes time."""
    size = max(_LEAST_DICTIONARY, min(values.nbytes, _MOST_DICTIONARY))
    extreme = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": size}
    return lzma.compress(values.tobytes(), filters=[extreme])


def _zstd(values: np.ndarray) -> bytes:
    return bytes(imagecodecs.zstd_encode(values.tobytes(), level=19))


def _png(image: np.ndarray) -> bytes:
    """The smaller of all rows unfiltered and a filter chosen for each row."""
    plain = _plain(image)
    return min((bytes(imagecodecs.png_encode(plain, level=9, filter=each)) for each in _PNG_FILTERS), key=len)


def _webp(image: np.ndarray) -> bytes:
    """Method 6 takes 5 to 20 times as long as 5, for less than 1 %. Grey is stored as colour: WebP knows nothing else."""
    colour = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    return bytes(imagecodecs.webp_encode(colour, lossless=True, level=100, method=5))


def _jpeg_xl(image: np.ndarray) -> bytes:
    """Effort 10 takes 5 times as long as 9."""
    return bytes(imagecodecs.jpegxl_encode(_plain(image), lossless=True, effort=9))


def _plain(image: np.ndarray) -> np.ndarray:
    return image[..., 0] if image.shape[2] == 1 else image


CODECS: dict[str, Codec] = {"bz2": _bz2, "xz": _xz, "zstd": _zstd}
"""From an array of any kind to bytes; shape and type not among them."""
IMAGE_CODECS: dict[str, Codec] = {"PNG": _png, "WebP": _webp, "JPEG XL": _jpeg_xl}
"""From an image `(h, w, c)` to a file, without loss."""
