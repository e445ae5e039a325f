"""A block's layers as bytes: hints, then the state of an entropy coder. No torch here."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from fivefold.codec.rans import Distributions, EmptyCoderError, Rans
from fivefold.codec.rounding import pack_hints, unpack_hints
from fivefold.errors import ArchiveLimitError

RAW, CODED = 0, 1  # a block's method: values verbatim in the exact layer, or coded by the model
_HINT_BYTES = 10  # of one, at most
_HEAD = struct.Struct("<HI")  # lanes, bytes of hints


class DamagedLayerError(ValueError):
    """A layer's bytes are not what an encoder writes."""


def pack(intervals: list[tuple[np.ndarray, np.ndarray]], hints: np.ndarray, lanes: int) -> bytes:
    """A layer of batches of symbols, by their intervals, in the order in which they are popped."""
    coder, packed = Rans(lanes), pack_hints(hints)
    for starts, frequencies in reversed(intervals):
        coder.push_intervals(starts, frequencies)
    heads, words = coder.heads.astype("<u8").tobytes(), coder.words.astype("<u4").tobytes()
    return _HEAD.pack(lanes, len(packed)) + packed + heads + words


def unpack(layer: bytes, numbers: int) -> tuple[Rans, np.ndarray]:
    """The coder, and the hints for at most so many rounded `numbers`; raises `DamagedLayerError`."""
    if len(layer) < _HEAD.size:
        raise DamagedLayerError("it is too short")
    lanes, size = _HEAD.unpack_from(layer)
    if size > _HINT_BYTES * numbers:
        raise DamagedLayerError("it has more hints than numbers")
    heads, words = _HEAD.size + size, _HEAD.size + size + 8 * lanes
    if lanes == 0 or len(layer) < words or (len(layer) - words) % 4:
        raise DamagedLayerError("its parts do not fit into it")
    try:
        hints = unpack_hints(layer[_HEAD.size : heads])
        coder = Rans.resume(np.frombuffer(layer[heads:words], "<u8"), np.frombuffer(layer[words:], "<u4"))
    except ValueError as error:
        raise DamagedLayerError(str(error)) from None
    return coder, hints


def pop(coder: Rans, distributions: Distributions) -> np.ndarray:
    """A batch of symbols; raises `DamagedLayerError` if there are not as many."""
    try:
        return coder.pop(distributions)
    except EmptyCoderError as error:
        raise DamagedLayerError(str(error)) from None


def check_empty(coder: Rans) -> None:
    """Raise `DamagedLayerError` if not all has been popped."""
    if not coder.is_empty:
        raise DamagedLayerError("something is left over")


def check_same(same: bool) -> None:
    """Raise `RuntimeError` if a block that was decoded to verify it is not the one that was encoded."""
    if not same:
        raise RuntimeError("a block did not come back as it was written; that is a defect of the program")


def inflate(content: bytes, most: int, name: str) -> bytes:
    """Deflated bytes (zlib) as they were; raises `ArchiveLimitError` if they are more than `most`."""
    inflated = zlib.decompressobj().decompress(content, most + 1)
    if len(inflated) > most:
        raise ArchiveLimitError(f"the archive's {name} are more than {most:,} bytes")
    return inflated
