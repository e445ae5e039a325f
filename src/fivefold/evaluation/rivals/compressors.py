"""Lossless codecs: the bytes that images, tables and series take in other files."""

from __future__ import annotations

import bz2
import io
import lzma
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fivefold.evaluation.rivals import require
from fivefold.tables.csv import write_csv

Codec = Callable[[np.ndarray], bytes]
_LEVEL = 19  # of zstd
_SOUND_RATE = 44_100  # which makes no difference to the size
_LEAST_DICTIONARY, _MOST_DICTIONARY = 1 << 12, 1 << 26  # xz's least, and its highest preset's
_WEBP_SIDE = 16382  # the format's is 16383, which imagecodecs refuses
_PNG_FILTERS = (imagecodecs.PNG.FILTER.NONE, imagecodecs.PNG.FILTER.ALL)


def image_sizes(values: np.ndarray) -> dict[str, dict[str, int]]:
    """Bytes that items `(n, h, w, c)` take, by codec.

    Per codec `one_stream` (image codecs: all items on one sheet) and `per_image` (the sum over items). Codecs that can't
    take the items' type or size are left out: of images other than uint8 and uint16, and WebP but for uint8 of 1, 3 or 4
    channels.
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


def table_sizes(table: pa.Table) -> dict[str, int]:
    """Bytes that a table takes in other files."""
    parquet, csv = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet, compression="zstd", compression_level=_LEVEL)
    write_csv(csv, table, ",", header=True)
    text = csv.getvalue()
    return {
        "Parquet, zstd -19": len(parquet.getvalue()),
        "CSV, xz -9e": len(_xz(text)),
        "CSV, zstd -19": len(_zstd(text)),
    }


def series_sizes(values: np.ndarray) -> dict[str, int]:
    """Bytes of series `(total, channels)`, one after the other, by codec; each channel by itself.

    pcodec at its highest level; FLAC, at its highest too, for 16-bit integers only.
    """
    config, compress = require("pcodec").ChunkConfig(compression_level=12), require("pcodec.standalone").simple_compress
    channels = [np.ascontiguousarray(channel) for channel in values.T]
    joined = b"".join(channel.tobytes() for channel in channels)
    sizes = {
        "pcodec": sum(len(compress(channel, config)) for channel in channels),
        f"zstd -{_LEVEL}": len(_zstd(joined)),
        "xz -9e": len(_xz(joined)),
    }
    if values.dtype == np.int16:
        sizes["FLAC"] = sum(len(_flac(channel)) for channel in channels)
    return sizes


def _sizes(codec: Codec, whole: np.ndarray, items: np.ndarray) -> dict[str, int]:
    with ThreadPoolExecutor() as pool:  # the codecs release the interpreter
        per_image = sum(map(len, pool.map(codec, items)))
    return {"one_stream": len(codec(whole)), "per_image": per_image}


def _xz(data: bytes) -> bytes:
    """A dictionary of the data's size, beyond which a larger one gains nothing but takes time."""
    size = max(_LEAST_DICTIONARY, min(len(data), _MOST_DICTIONARY))
    extreme = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": size}
    return lzma.compress(data, filters=[extreme])


def _zstd(data: bytes) -> bytes:
    return bytes(imagecodecs.zstd_encode(data, level=_LEVEL))


def _flac(channel: np.ndarray) -> bytes:
    file = io.BytesIO()
    require("soundfile").write(file, channel, _SOUND_RATE, format="FLAC", subtype="PCM_16", compression_level=1.0)
    return file.getvalue()


def _png(image: np.ndarray) -> bytes:
    """The smaller of all rows unfiltered and a filter chosen for each row."""
    plain = _plain(image)
    return min((bytes(imagecodecs.png_encode(plain, level=9, filter=kind)) for kind in _PNG_FILTERS), key=len)


def _webp(image: np.ndarray) -> bytes:
    """Method 6 takes 5 to 20 times as long as 5, for less than 1 %. Grey is stored as colour: WebP knows nothing else."""
    colour = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    return bytes(imagecodecs.webp_encode(colour, lossless=True, level=100, method=5))


def _plain(image: np.ndarray) -> np.ndarray:
    return image[..., 0] if image.shape[2] == 1 else image


CODECS: dict[str, Codec] = {
    "bz2": lambda values: bz2.compress(values.tobytes(), 9),
    "xz": lambda values: _xz(values.tobytes()),
    "zstd": lambda values: _zstd(values.tobytes()),
}
"""From an array of any kind to bytes; shape and type not among them."""
IMAGE_CODECS: dict[str, Codec] = {
    "PNG": _png,
    "WebP": _webp,
    "JPEG XL": lambda image: bytes(
        imagecodecs.jpegxl_encode(_plain(image), lossless=True, effort=9)
    ),  # 10: 5 times the time
}
"""From an image `(h, w, c)` to a file, without loss."""
