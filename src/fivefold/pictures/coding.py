"""Archives of pictures: a block each, of any size, exactly. No torch here, but for what is given to encode."""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fivefold.archive.container import ArchiveReader, Limits
from fivefold.archive.layers import (
    CODED,
    RAW,
    DamagedLayerError,
    EncodedBlock,
    Encoding,
    check_same,
    pack_names,
    unpack_names,
)
from fivefold.codec.mixtures import MOST_SYMBOLS
from fivefold.dataset import open_data
from fivefold.errors import DamagedArchiveError, DataError, ModelError, UsageError
from fivefold.images.files import Output
from fivefold.pictures.coder import PixelCoder
from fivefold.pictures.dataset import Form, PictureSet
from fivefold.pictures.schema import PictureSchema

if TYPE_CHECKING:
    from fivefold.archive.write import ArchiveOptions
    from fivefold.storage import StoredModel

_HEAD = struct.Struct("<IIiI")  # height, width, lowest value, levels
_TYPES = ("uint8", "uint16", "int8", "int16")
_TIMES = 4  # elements that take as little memory as one of other blocks


@dataclass(frozen=True)
class PictureCodec:
    """Blocks of one picture each: first layer its size, range and type, second its levels, or, where shorter, values deflated.

    Attributes
    ----------
    coder
    schema : of the model
    most : elements, that a picture may have
    """

    coder: PixelCoder
    schema: PictureSchema
    most: int

    @classmethod
    def of(cls, model: StoredModel, most: int) -> PictureCodec:
        """That of a model; raises `ModelError` if it has no coder, or a damaged one."""
        schema = cast(PictureSchema, model.schema)
        if (arrays := model.calibrations.get("coder")) is None:
            raise ModelError(
                "the model has no coder of pictures: fit another, to pictures of whole numbers up to 16 bits"
            )
        try:
            coder = PixelCoder(**arrays)
        except (TypeError, ValueError) as error:
            raise ModelError(f"the model's coder is damaged: {error}") from None
        if len(coder.start) != schema.channels:
            raise ModelError(
                f"the model's coder is damaged: it is of {len(coder.start)} channels, not {schema.channels}"
            )
        return cls(coder, schema, most)

    def encode(self, picture: np.ndarray, verify: bool) -> EncodedBlock:
        """A picture `(h, w, c)` of whole numbers as a block."""
        low, count = self._range(picture)
        height, width, _ = picture.shape
        levels = picture.astype(np.int64) - low
        head = _HEAD.pack(height, width, low, count) + picture.dtype.name.encode()
        method, content = CODED, self.coder.encode(levels, count)
        if len(plain := _deflate(picture)) < len(content):
            method, content = RAW, plain
        if verify:
            decoded = self.decode(1, method, [head, content], False)
            check_same(not isinstance(decoded, str) and np.array_equal(decoded[0], picture))
        return EncodedBlock(1, method, [head, content], self.digest(picture[None]))

    def _range(self, picture: np.ndarray) -> tuple[int, int]:
        """The lowest level, and how many: those of the fit, or, where these are not enough, of the type."""
        low, high = int(self.schema.low), int(self.schema.high)
        if low <= picture.min() and picture.max() <= high:
            return low, high - low + 1
        about = np.iinfo(picture.dtype)
        return int(about.min), int(about.max) - int(about.min) + 1

    def digest(self, values: np.ndarray) -> bytes:
        """Of the values in C order, little-endian."""
        return hashlib.sha256(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).digest()

    def decode(self, items: int, method: int, layers: list[bytes], lossy: bool) -> Any:
        """The picture `(1, h, w, c)`, or what is wrong, as text."""
        if method not in (RAW, CODED) or items != 1:
            return f"it has {items} pictures, by method {method}"
        head, name = layers[0][: _HEAD.size], layers[0][_HEAD.size :].decode("ascii", "replace")
        if len(head) != _HEAD.size or name not in _TYPES:
            return "it does not say what it holds"
        height, width, low, count = _HEAD.unpack(head)
        about = np.iinfo(name)
        size = height * width * self.schema.channels
        if not (0 < size <= self.most and 2 <= count <= MOST_SYMBOLS):
            return f"its picture is of {height}×{width} pixels and {count} levels"
        if not about.min <= low <= low + count - 1 <= about.max:
            return f"its levels from {low} to {low + count - 1} are no {name}"
        shape = height, width, self.schema.channels
        try:
            if method == RAW:
                return _inflate(layers[1], shape, np.dtype(name))[None]
            return (self.coder.decode(layers[1], shape, count) + low).astype(name)[None]
        except DamagedLayerError as error:
            return str(error)


def _deflate(picture: np.ndarray) -> bytes:
    """Values as they are, or as differences from the row above, which suits what is drawn; after a byte that says which."""
    values = picture.astype(picture.dtype.newbyteorder("<"))
    differences = np.concatenate((values[:1], values[1:] - values[:-1]))  # modulo what the type holds
    return min(
        (bytes([way]) + zlib.compress(part.tobytes(), 9) for way, part in enumerate((values, differences))), key=len
    )


def _inflate(content: bytes, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """The inverse; raises `DamagedLayerError`."""
    size = math.prod(shape) * dtype.itemsize
    try:
        inflated = zlib.decompressobj().decompress(content[1:], size + 1)
    except zlib.error as error:
        raise DamagedLayerError(str(error)) from None
    if len(inflated) != size or content[0] > 1:
        raise DamagedLayerError(f"it does not hold {size} bytes")
    values = np.frombuffer(inflated, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    return np.cumsum(values, axis=0, dtype=dtype) if content[0] else values


def encoding(model: Any, stored: StoredModel, source: Any, options: ArchiveOptions, **reading: Any) -> Encoding:
    """Pictures on their way into an archive; see `pictures.dataset.open`, and `archive.layers.Coding`."""
    data = cast(PictureSet, open_data(source, stored.schema, **reading))
    if options.block_items not in (None, 1):
        raise UsageError("`block_items` must be 1 of pictures: each can be read without the others")
    codec = PictureCodec.of(stored, _TIMES * Limits().block_elements)
    if data.half_seen is not None:
        raise DataError(
            f"{data.half_seen}: has pixels that are half transparent, which a model of pictures does not see"
        )
    for number, picture in enumerate(data.pictures):
        if (reason := _why_not(picture, codec.most)) is not None:
            raise DataError(f"{data.name(number)}: {reason}")
    n, shapes = len(data), {picture.shape for picture in data.pictures}
    about = {
        "kind": stored.schema.kind,
        "dtype": data.pictures[0].dtype.name,
        "form": [data.came.stacked, data.came.single, data.came.flat],
        "sizes": len(shapes),
        "elements": data.elements,
    }
    tasks = ((np.ascontiguousarray(picture), options.verify) for picture in data.pictures)
    nbytes = sum(picture.nbytes for picture in data.pictures)
    return Encoding(
        codec, tasks, lambda model: {**about, "model": model}, data.elements / n, nbytes, n, n, pack_names(data.names)
    )


def _why_not(picture: np.ndarray, most: int) -> str | None:
    """What about a picture an archive can't hold."""
    if picture.dtype.kind == "f" and np.isnan(picture).any():
        return "has missing pixels, which an archive can't hold"
    if picture.dtype.name not in _TYPES:
        return f"must be of whole numbers up to 16 bits, got {picture.dtype}"
    return f"has {picture.size:,} numbers, more than the {most:,} allowed" if picture.size > most else None


@dataclass(frozen=True)
class PictureDecoding:
    """The header of an open archive of pictures."""

    dtype: np.dtype
    came: Form
    sizes: int
    elements: int
    names: tuple[str, ...] | None
    limits: Limits

    def codec(self, model: StoredModel, lossy: bool) -> PictureCodec:
        """See `archive.layers.Decoding`."""
        return PictureCodec.of(model, _TIMES * self.limits.block_elements)

    def restore(self, parts: Iterator[np.ndarray], rows: range) -> Any:
        """In the form in which they came."""
        pictures, size = list[np.ndarray](), 0
        for part in parts:
            size += part.nbytes
            self.limits.check("bytes", size)
            pictures.append(part[0])
        if self.came.stacked and len({picture.shape for picture in pictures}) > 1:
            raise DamagedArchiveError("the archive's header is damaged: its pictures are no array")
        return self.came.of(pictures) if pictures else []

    def output(self, path: Path, force: bool) -> Callable[[Iterator[np.ndarray], range], None]:
        """A folder, or of pictures of one size also a file; see `Output`."""
        place = Output.at(path, force)

        def write(parts: Iterator[np.ndarray], rows: range) -> None:
            if place.path.suffix and len(rows) > 1 and self.sizes > 1:
                raise UsageError(f"pictures of several sizes go to a folder, not to {path}")
            names = None if self.names is None else self.names[rows.start : rows.stop]
            first = next(parts)
            shape = (len(rows), *first.shape[1:])
            place.write(chain([first], parts), shape, self.dtype, 0.0, 1.0, names)

        return write

    def describe(self, items: int, sizes: Sequence[int]) -> dict[str, str]:
        """The pictures, and what they take."""
        text = f"{sum(sizes):,} bytes, {8 * sum(sizes) / self.elements:.4f} bits per element"
        return {
            "items": f"{items:,} pictures of {self.sizes} size{'s' * (self.sizes > 1)}, {self.dtype}",
            "exact": text,
        }


def decoding(reader: ArchiveReader, limits: Limits) -> PictureDecoding:
    """The header of an archive of pictures; see `archive.layers.Coding`."""
    facts, names = reader.facts, unpack_names(reader)
    dtype, form = facts["dtype"], facts["form"]
    sane = dtype in _TYPES and len(form) == 3 and all(type(flag) is bool for flag in form)
    sane = sane and all(type(facts[name]) is int and facts[name] > 0 for name in ("sizes", "elements"))
    if not sane or any(block.items != 1 for block in reader.blocks):
        raise DamagedArchiveError("the archive's header is damaged")
    return PictureDecoding(np.dtype(dtype), Form(*form), facts["sizes"], facts["elements"], names, limits)
